"""Redrive and discard without scripts: a page that asks, a form that acts, a list that tells."""

import re
from datetime import timedelta
from urllib.parse import urlencode

from tests.dashboard.ground import Ground
from tests.dashboard.seeding import SMTP_SILENT

DEAD = "/events/dashboard/dead-letters"


def hidden_fields(page: str) -> list[tuple[str, str]]:
    """The form's hidden fields, as a browser would send them."""
    return re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)


async def post(ground: Ground, path: str, fields: list[tuple[str, str]]) -> object:
    return await ground.client.post(
        path, content=urlencode(fields), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )


async def test_selected_ones(shop: Ground) -> None:
    one, two = map(str, shop.seeded.dead[:2])
    asks = await shop.client.get(f"{DEAD}/confirm", params={"action": "redrive", "id": [one, two]})
    assert asks.status_code == 200
    assert "Redrive 2 dead letters?" in asks.text
    assert "fresh budget of attempts" in asks.text
    answer = await post(shop, f"{DEAD}/redrive", hidden_fields(asks.text))
    assert answer.status_code == 303
    tells = await shop.client.get(answer.headers["location"])
    assert "2 dead letters were redriven." in tells.text
    again = await post(shop, f"{DEAD}/redrive", hidden_fields(asks.text))
    tells = await shop.client.get(again.headers["location"])
    assert "Nothing was changed: they were not dead any more." in tells.text, "a double click does no harm"


async def test_all_that_match_as_they_were_looked_at(shop: Ground) -> None:
    query = {"action": "discard", "all": "true", "filter": "handler:mail.send_confirmation"}
    asks = await shop.client.get(f"{DEAD}/confirm", params=query)
    assert "Discard 3 dead letters?" in asks.text
    assert "There is no way back" in asks.text
    event = await shop.seeding.event("orders.order.placed", {})
    await shop.seeding.delivery(event, "mail.send_confirmation", "dead", "max_attempts", failure=SMTP_SILENT,
                                changed_at=shop.seeded.now + timedelta(hours=1))  # fmt: skip
    fields = hidden_fields(asks.text)
    refused = await post(shop, f"{DEAD}/discard", fields)
    assert refused.status_code == 422
    assert "needs a reason" in refused.text
    done = await post(shop, f"{DEAD}/discard", [*fields, ("reason", "agreed with ops")])
    assert done.status_code == 303
    assert "filter=handler%3Amail.send_confirmation" in done.headers["location"], "back to the same list"
    rows = await shop.connection.fetch("SELECT note FROM events.delivery WHERE state = 'discarded'")
    assert [row["note"] for row in rows] == ["agreed with ops"] * 3
    assert len((await shop.port.observe.dead_letters("handler:mail.send_confirmation")).dead_letters) == 1


async def test_what_cannot_be_confirmed(shop: Ground) -> None:
    for query, reason in (
        ({"action": "redrive"}, "Nothing is selected"),
        ({"action": "redrive", "all": "true"}, "needs a filter"),
        ({"action": "redrive", "all": "true", "filter": "handler:nobody"}, "No dead letter matches"),
        ({"action": "redrive", "all": "true", "filter": "status:dead"}, "no key of this filter"),
        ({"action": "explode", "id": str(shop.seeded.dead[0])}, "Input should be"),
        ({"action": "redrive", "id": "x"}, "valid UUID"),
    ):
        answer = await shop.client.get(f"{DEAD}/confirm", params=query)
        assert answer.status_code == 422, query
        assert reason in answer.text


async def test_forms_that_are_none(shop: Ground) -> None:
    letter = str(shop.seeded.dead[0])
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, headers, status in (
        (b"id=" + letter.encode(), {"Content-Type": "text/plain"}, 415),
        (b"id=" + letter.encode(), {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (b"id=x", form, 422),
        (b"", form, 422),
        (b"\xff\xfe", form, 422),
        (b"filter=handler:x&cut_off=2026-01-01T00:00:00%2B00:00&expected=abc", form, 422),
        (b"filter=handler:x&cut_off=yesterday&expected=1", form, 422),
        (b"filter=&cut_off=2026-01-01T00:00:00%2B00:00&expected=1", form, 422),
        (b"id=" + letter.encode() + b"&reason=%00", form, 422),
        (b"&".join([b"id=" + letter.encode()] * 1100), form, 422),
        (b"reason=" + b"x" * 300_000, form, 413),
    ):
        answer = await shop.client.post(f"{DEAD}/redrive", content=content, headers=headers)
        assert answer.status_code == status, (content[:60], answer.text[:300])
        assert answer.headers["content-type"].startswith("text/html")
    states = await shop.connection.fetch("SELECT DISTINCT state FROM events.delivery")
    assert {row["state"] for row in states} == {"dead", "waiting"}
