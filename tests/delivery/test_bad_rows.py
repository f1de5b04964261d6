"""Rows that others wrote badly die one by one, with a reason; the batch goes on."""

import json

import pytest

from fastapi_events import Event, Module, RawEvent
from tests.delivery.stage import Placed, Stage, publish, within

INSERT = """
    INSERT INTO events.event (lane, partition, name, version, id, correlation_id, key, payload)
    SELECT 1, 0, $1, $2, gen_random_uuid(), gen_random_uuid(), $3, $4::text::jsonb
"""
BAD = {
    "5,000 digits": ('{"order": "a", "number": %s}' % ("9" * 5000), "invalid_payload"),
    "1e5000": ('{"order": "a", "number": 1e5000}', "invalid_payload"),
    "wrong type": ('{"order": "a", "number": "many"}', "invalid_payload"),
    "missing field": ('{"number": 1}', "invalid_payload"),
    "not an object": ("[1, 2]", "invalid_payload"),
    "null": ("null", "invalid_payload"),
    "deep": ('{"order": "a", "extra": %s}' % ("[" * 6000 + "]" * 6000), "undecodable"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_row_that_cannot_be_read_is_dead_with_its_reason_while_the_batch_goes_on(
    stage: Stage, kind: str
) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.order)

    events = await stage.idle(module)
    payload, reason = BAD[kind]
    for key, text in (("x", '{"order": "x"}'), ("bad", payload), ("y", '{"order": "y"}')):
        await stage.rows(INSERT, "shop.order.placed", 1, key, text)
    await within(events.drain_once(), 10)
    assert sorted(seen) == ["x", "y"]
    [dead] = await stage.deliveries()
    assert (dead["state"], dead["attempts"]) == ("dead", 1)
    assert dead["reason"] in (reason, "undecodable" if kind in ("5,000 digits", "1e5000") else reason)
    assert dead["error_message"]
    assert dead["event"] is not None


@pytest.mark.parametrize("kind", ["5,000 digits", "1e5000", "deep"])
async def test_a_wildcard_handler_of_unknown_events_meets_the_same(stage: Stage, kind: str) -> None:
    module, seen = Module("shop"), []

    @module.on("other.*")
    async def handle(event: Event | RawEvent) -> None:
        seen.append(event)

    events = await stage.idle(module)
    for text in ('{"a": 1}', BAD[kind][0], '{"a": 2}'):
        await stage.rows(INSERT, "other.thing.done", 1, None, text)
    await within(events.drain_once(), 10)
    good = [event.payload for event in seen if event.payload in ({"a": 1}, {"a": 2})]
    assert len(good) == 2
    if kind != "1e5000":  # Python reads it as infinity
        [dead] = await stage.deliveries("dead")
        assert dead["reason"] == "undecodable"


async def test_names_that_nobody_declared_are_kept_and_stop_nothing(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on("shop.*")
    async def handle(event: Event | RawEvent) -> None:
        seen.append(event)

    events = await stage.idle(module)
    for name in (
        "shop.<script>alert(1)</script>",
        "shop." + "x" * 9_000,
        "",
        "shop.\u202eevil",
        "'; DROP TABLE x --",
        "shop",
    ):
        await stage.rows(INSERT, name, 1, None, "{}")
    await publish(events, [Placed(order="a")])
    await within(events.drain_once(), 10)
    assert any(isinstance(event, Placed) for event in seen)
    assert await stage.value("SELECT count(*) FROM events.event") == 7


async def test_hostile_headers_keys_and_tenants_stop_nothing(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.order)
        if event.order == "bad":
            raise ValueError("broken")

    events = await stage.idle(module)
    await stage.rows(
        "INSERT INTO events.event (lane, partition, name, id, correlation_id, key, tenant_id, headers, payload) "
        "SELECT 1, 0, 'shop.order.placed', gen_random_uuid(), gen_random_uuid(), $1, $1, $2::text::jsonb, "
        "$3::text::jsonb",
        "k" * 2000 + "\u202e'\"\\<b>", json.dumps(["not", "an", "object"]), '{"order": "bad"}',
    )  # fmt: skip
    await publish(events, [Placed(order="good")])
    await within(events.drain_once(), 10)
    assert "good" in seen


async def test_a_validator_of_the_user_that_raises_anything_costs_one_event(stage: Stage) -> None:
    from pydantic import field_validator

    class Picky(Event, name="shop.picky.thing"):
        kind: str

        @field_validator("kind")
        @classmethod
        def check(cls, value: str) -> str:
            if value == "exit":
                raise SystemExit(1)
            if value == "key":
                raise KeyError(value)
            return value

    module, seen = Module("shop"), []

    @module.on(Picky)
    async def handle(event: Picky) -> None:
        seen.append(event.kind)

    events = await stage.idle(module)
    for kind in ("a", "exit", "key", "b"):
        await stage.rows(INSERT, "shop.picky.thing", 1, kind, json.dumps({"kind": kind}))
    await within(events.drain_once(), 10)
    assert sorted(seen) == ["a", "b"]
    assert all(row["state"] in ("dead", "waiting") for row in await stage.deliveries())
    reasons = {row["slot"]: row["reason"] for row in await stage.deliveries()}
    assert reasons.keys() == {"exit", "key"}
    assert reasons["key"] == "invalid_payload"  # at once: a retry would not help
