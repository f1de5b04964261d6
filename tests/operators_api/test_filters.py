"""Filters: what they mean, and what is said of those that mean nothing. A bad one is never a server error."""

from datetime import UTC, datetime, timedelta

import pytest

from fastapi_events.api.observe.filters import parse_dead_letter_filter, parse_event_filter
from fastapi_events.errors import InvalidFilter
from tests.dashboard.ground import Ground

BAD = [
    ("nme:orders.*", "Did you mean name:?"),
    ("what", "is no filter term"),
    ("name:", "has no value"),
    ('name:""', "has no value"),
    ("name:a name:b", "given twice"),
    ("status:gone", "It is one of pending, waiting, dead"),
    ("id:4711", "is not a UUID"),
    ("correlation:x", "is not a UUID"),
    ("key:4711", "Write key:acme/order/4711, or key:/order/4711 where there is no tenant."),
    ("key:order/4711", "is no whole ordering key"),
    ("after:yesterday", "is no time"),
    ("after:9999999d", "is no time"),
    ("before:0001-01-01T00:00:00+23:59", "is no time"),
    ("after:1h before:2h", "nothing can match"),
    ("payload:x", "is no key"),
    ("payload.a:1 payload.b:2 payload.c:3 payload.d:4", "3 are allowed"),
    ("name:a\x00b", "control character"),
    ("name:" + "x" * 600, "500 are allowed"),
    (" ".join(f"payload.k{n}:1" for n in range(13)), "12 are allowed"),
    ("payload.card.cvc_token:tok_x", "is a secret by its name"),
]
# Nothing of this may reach the server's own errors, whatever it means.
REFUSED = ("name:'; DROP TABLE events.event; --", "payload.$:{}", "tenant:' OR 1=1", "payload.x:' OR '1'='1")
HOSTILE = [
    *REFUSED, "name:%", "name:\\", "name:_", "tenant:\U0010ffff", "actor:😀", "key:{{7*7}}//", "name:***",
    "handler:\\x00", "payload.a.b.c:null", "payload.0:1", "aggregate:/", "aggregate:a/b/c/d",
    "after:0s", "before:1970-01-01", "after:9999-12-31", "before:0002-01-01", 'tenant:"a b"', "status:dead handler:*",
    "id:00000000-0000-0000-0000-000000000000",
]  # fmt: skip


async def test_a_bad_filter_is_answered_with_422_and_why(bare: Ground) -> None:
    for text, reason in BAD:
        data = await bare.client.get("/events/api/events", params={"filter": text})
        page = await bare.client.get("/events/dashboard/events", params={"filter": text})
        assert (data.status_code, page.status_code) == (422, 422), text
        assert reason in data.json()["detail"][0]["msg"]
        assert reason in page.text
        assert "Filter events" in page.text, "the page stays usable"


async def test_whatever_is_typed_is_a_search_or_refused(shop: Ground) -> None:
    for text in HOSTILE:
        for path in ("/events/api/events", "/events/dashboard/events"):
            status = (await shop.client.get(path, params={"filter": text})).status_code
            assert status == (422 if text in REFUSED else 200), text
    assert await shop.connection.fetchval("SELECT count(*) FROM events.event") == 77


async def test_an_ordering_key_is_searched_as_it_is_stored(shop: Ground) -> None:
    key = shop.seeded.events[0]["key"]
    data = await shop.client.get("/events/api/events", params={"filter": f"key:{key}"})
    stored = {str(event["id"]) for event in shop.seeded.events if event["key"] == key}
    assert {event["id"] for event in data.json()["events"]} == stored
    page = await shop.client.get("/events/dashboard/events")
    assert "<code>/order/4711</code> without a tenant" in page.text, "the page says how it is written"


async def test_bad_filters_of_dead_letters(bare: Ground) -> None:
    for text in ("cause:xyz", "status:dead", "handler:", "handler:a handler:b", "\x7f", "x" * 501, "tenant:x"):
        for path in ("/events/api/dead-letters", "/events/dashboard/dead-letters"):
            assert (await bare.client.get(path, params={"filter": text})).status_code == 422, text


BAD_PLACES: list[tuple[str, dict[str, str]]] = [
        ("events", {"before": "-1"}), ("events", {"before": "9" * 40}), ("events", {"after": "x"}),
        ("events", {"limit": "0"}), ("events", {"limit": "101"}), ("events", {"limit": "1e9"}),
        ("dead-letters", {"cursor": "x"}), ("dead-letters", {"cursor": "9" * 18 + "-" + "0" * 32}),
        ("dead-letters", {"cursor": "1-" + "z" * 32}), ("actions", {"cursor": "' OR 1=1"}), ("events/1", {}),
        ("events/../events", {"limit": "999"}),
]  # fmt: skip


async def test_a_bad_page_position_is_422(bare: Ground) -> None:
    for path, parameters in BAD_PLACES:
        assert (await bare.client.get(f"/events/api/{path}", params=parameters)).status_code == 422, (path, parameters)
        if path.split("/")[0] in ("events", "dead-letters") and "limit" not in parameters:
            answer = await bare.client.get(f"/events/dashboard/{path}", params=parameters)
            assert answer.status_code == 422
            assert "could not be understood" in answer.text or "cannot be understood" in answer.text


async def test_the_highest_positions_are_pages_too(shop: Ground) -> None:
    for parameters in ({"before": 2**63 - 1}, {"before": 0}, {"after": 2**63 - 1}, {"after": 0}):
        answer = await shop.client.get("/events/api/events", params=parameters)
        assert answer.status_code == 200, parameters


def test_what_the_terms_mean() -> None:
    parsed = parse_event_filter(
        'name:orders:order.* aggregate:order/47/11 tenant:"north wind" after:2026-01-31 payload.a.b:7'
    )
    assert parsed.where.name == "orders.order.%"
    assert (parsed.where.aggregate, parsed.where.aggregate_id) == ("order", "47/11")
    assert parsed.where.tenant_id == "north wind"
    assert parsed.where.published_from == datetime(2026, 1, 31, tzinfo=UTC)
    assert parsed.where.payload == ((("a", "b"), "7"),)
    age = parse_event_filter("after:2h").where.published_from
    assert age is not None
    assert abs(datetime.now(UTC) - age - timedelta(hours=2)) < timedelta(minutes=1)


def test_a_bare_word_is_an_id_or_a_name() -> None:
    assert parse_event_filter("orders.order.placed").where.name == "orders.order.placed"
    assert str(parse_event_filter("01a1fd14-aa10-74a7-a53f-8718d62eae79").where.id).startswith("01a1fd14")
    with pytest.raises(InvalidFilter, match="Write key:value"):
        parse_event_filter("placed")


def test_a_dead_letter_filter() -> None:
    parsed = parse_dead_letter_filter("handler:a.b name:x.y.z cause:00ff")
    assert (parsed.handler, parsed.event_name, parsed.fingerprint) == ("a.b", "x.y.z", "00ff")
