"""Dead letters: lists, groups and counts, and acting on them through the JSON API."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.dashboard.ground import Ground
from tests.dashboard.seeding import SMTP_SILENT

REDRIVE, DISCARD = "/events/api/dead-letters/redrive", "/events/api/dead-letters/discard"


async def states(ground: Ground) -> dict[UUID, str]:
    rows = await ground.connection.fetch("SELECT id, state FROM events.delivery")
    return {row["id"]: row["state"] for row in rows}


async def listed(ground: Ground, where: str = "") -> Any:
    answer = await ground.client.get("/events/api/dead-letters", params={"filter": where})
    assert answer.status_code == 200
    return answer.json()


async def test_pages_do_not_lose_rows_that_died_in_the_same_instant(bare: Ground) -> None:
    await bare.seeding.handler("a.first", "shop.order.placed")
    for _ in range(23):
        event = await bare.seeding.event("shop.order.placed", {})
        await bare.seeding.delivery(event, "a.first", "dead", "max_attempts", changed_at=bare.seeded.now)
    found, cursor = [], None
    while True:
        page = await bare.port.observe.dead_letters(cursor=cursor, limit=5)
        found += [letter.id for letter in page.dead_letters]
        cursor = page.older
        if cursor is None:
            break
    assert len(found) == 23
    assert set(found) == set(bare.seeded.dead)


async def test_groups_say_how_many_of_which_cause(shop: Ground) -> None:
    groups = (await shop.client.get("/events/api/dead-letters/groups")).json()
    assert [(group["handler"], group["dead"]) for group in groups] == [
        ("payments.capture_payment", 4), ("mail.send_confirmation", 3),
    ]  # fmt: skip
    one = await listed(shop, f"handler:mail.send_confirmation cause:{groups[1]['fingerprint']}")
    assert (one["matching"], one["capped"], len(one["dead_letters"])) == (3, False, 3)


async def test_what_waits_behind_a_parked_key_is_counted(bare: Ground) -> None:
    await bare.seeding.handler("a.first", "shop.order.placed")
    head = await bare.seeding.event("shop.order.placed", {}, aggregate_id="one")
    await bare.seeding.delivery(head, "a.first", "dead", "max_attempts")
    for _ in range(3):
        follower = await bare.seeding.event("shop.order.placed", {}, aggregate_id="one")
        await bare.seeding.delivery(follower, "a.first", "waiting", "key_blocked")
    assert [letter["behind"] for letter in (await listed(bare))["dead_letters"]] == [3]


async def test_redrive_and_discard_change_what_was_chosen_and_nothing_else(shop: Ground) -> None:
    one, two, three = shop.seeded.dead[:3]
    answer = await shop.client.post(REDRIVE, json={"ids": [str(one), str(one)], "reason": "provider is back"})
    assert (answer.status_code, answer.json()) == (200, {"asked": 1, "changed": 1})
    answer = await shop.client.post(DISCARD, json={"ids": [str(one), str(two)], "reason": "test order"})
    assert answer.json() == {"asked": 2, "changed": 1}, "one is not dead any more"
    now = await states(shop)
    assert (now[one], now[two], now[three]) == ("waiting", "discarded", "dead")
    actions = (await shop.client.get("/events/api/actions")).json()["actions"]
    assert [(a["action"], a["actor"], a["details"]["reason"]) for a in actions[:2]] == [
        ("discard", "developer", "test order"), ("redrive", "developer", "provider is back"),
    ]  # fmt: skip


async def test_all_matching_is_what_was_looked_at(shop: Ground) -> None:
    seen = await listed(shop, "handler:mail.send_confirmation")
    event = await shop.seeding.event("orders.order.placed", {}, aggregate_id="later")
    later = await shop.seeding.delivery(
        event, "mail.send_confirmation", "dead", "max_attempts", failure=SMTP_SILENT,
        changed_at=shop.seeded.now + timedelta(hours=1),
    )  # fmt: skip
    body = {"filter": "handler:mail.send_confirmation", "cut_off": seen["cut_off"], "expected": seen["matching"]}
    answer = await shop.client.post(REDRIVE, json=body)
    assert answer.json() == {"asked": 3, "changed": 3}
    now = await states(shop)
    assert now[later] == "dead", "what died after the list was looked at is left alone"
    assert sum(now[letter] == "dead" for letter in shop.seeded.dead) == 5


async def test_more_than_was_confirmed_is_refused(shop: Ground) -> None:
    seen = await listed(shop, "handler:payments.capture_payment")
    body = {"filter": "handler:payments.capture_payment", "cut_off": seen["cut_off"], "expected": 2, "reason": "x"}
    for path in (REDRIVE, DISCARD):
        answer = await shop.client.post(path, json=body)
        assert answer.status_code == 409
        assert "4 dead letters match now, but 2 were confirmed" in answer.json()["detail"]
    assert set((await states(shop)).values()) == {"dead", "waiting"}


BAD_BODIES: list[tuple[dict[str, Any], str]] = [
    ({}, "give either ids, or filter"),
    ({"ids": [], "reason": "x"}, "choose 1 to 1,000"),
    ({"ids": ["nonsense"]}, "valid UUID"),
    ({"ids": ["01a1fd14-aa10-74a7-a53f-8718d62eae79"] * 1001}, "at most 1000"),
    ({"ids": ["01a1fd14-aa10-74a7-a53f-8718d62eae79"], "filter": "handler:x"}, "give either"),
    ({"filter": "handler:x"}, "needs cut_off and expected"),
    ({"filter": "", "cut_off": "2026-01-01T00:00:00Z", "expected": 3, "reason": "x"}, "needs a filter"),
    ({"filter": "hander:x", "cut_off": "2026-01-01T00:00:00Z", "expected": 3, "reason": "x"}, "Did you mean handler:"),
    ({"filter": "handler:x", "cut_off": "2026-01-01T00:00:00", "expected": 3, "reason": "x"}, "no time zone"),
    ({"filter": "handler:x", "cut_off": "2026-01-01T00:00:00Z", "expected": 0, "reason": "x"}, "greater than or equal"),
    ({"ids": ["01a1fd14-aa10-74a7-a53f-8718d62eae79"], "reason": "a\x00b"}, "control character"),
    ({"ids": ["01a1fd14-aa10-74a7-a53f-8718d62eae79"], "reason": "x" * 501}, "at most 500"),
    ({"ids": ["01a1fd14-aa10-74a7-a53f-8718d62eae79"], "reason": "  "}, "needs a reason"),
]


async def test_a_bad_selection_is_refused_with_the_reason(shop: Ground) -> None:
    for body, reason in BAD_BODIES:
        answer = await shop.client.post(DISCARD, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert reason in answer.text
    assert "discarded" not in (await states(shop)).values()


async def test_a_refusal_names_the_part_that_is_wrong(shop: Ground) -> None:
    one = [str(shop.seeded.dead[0])]
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"ids": one}, "reason"), ({"ids": one, "reason": "a\x00b"}, "reason"), ({"ids": [], "reason": "x"}, "ids"),
        ({"filter": "nonsense", "cut_off": "2026-01-01T00:00:00Z", "expected": 3, "reason": "x"}, "filter"),
    ]  # fmt: skip
    for body, where in bodies:
        [problem] = (await shop.client.post(DISCARD, json=body)).json()["detail"]
        assert (problem["type"], problem["loc"]) == ("invalid_filter", [where])


async def test_a_lone_surrogate_is_refused(shop: Ground) -> None:
    body = f'{{"ids": ["{shop.seeded.dead[0]}"], "reason": "\\ud800"}}'
    answer = await shop.client.post(DISCARD, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_a_body_must_be_json_short_and_of_known_length(shop: Ground) -> None:
    body = f'{{"ids": ["{shop.seeded.dead[0]}"], "reason": "x"}}'.encode()
    refused = [
        (await shop.client.post(DISCARD, content=body, headers={"Content-Type": "text/plain"}), 422),
        (await shop.client.post(DISCARD, content=b"x" * 300_000), 413),
    ]

    async def chunks() -> Any:
        yield body

    refused.append((await shop.client.post(DISCARD, content=chunks()), 411))
    assert [(answer.status_code) for answer, _ in refused] == [status for _, status in refused]
    assert "discarded" not in (await states(shop)).values()


async def test_a_delivery_outlives_its_event_in_the_log(shop: Ground) -> None:
    letter = shop.seeded.dead[0]
    await shop.connection.execute("DELETE FROM events.event")
    delivery = await shop.port.observe.delivery(letter)
    assert delivery is not None
    assert not delivery.in_log
    assert delivery.payload is not None
    assert "customer" in delivery.payload


async def test_another_groups_dead_letters_are_out_of_sight(shop: Ground) -> None:
    other = type(shop.seeding)(shop.connection, shop.seeded.now)
    await other.group("warehouse")
    await other.handler("mail.send_confirmation", "*")
    event = await other.event("orders.order.placed", {})
    letter = await other.delivery(event, "mail.send_confirmation", "dead", "max_attempts")
    assert (await listed(shop, "handler:mail.send_confirmation"))["matching"] == 3
    assert await shop.port.observe.delivery(letter) is None
    assert {handler.group for handler in await shop.port.observe.handlers()} == {"shop"}
