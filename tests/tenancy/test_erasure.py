"""What was personal is gone, wherever it had been written; what was done, and that it was erased, can still be told."""

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fastapi_events import Discard, Event, Events, Module, Retry
from fastapi_events.api.erasure import Erased
from fastapi_events.errors import NotFound, OperationRefused
from fastapi_events.model.erasure import ERASED_PAYLOAD, ERASED_TEXT
from fastapi_events.store import erasure
from tests.delivery.stage import Stage, until

CANARY = "ada.lovelace@example.com"


class Registered(Event, name="shop.customer.registered", aggregate_id="customer"):
    customer: str
    email: str
    then: str = ""


class Lenient(Event, name="shop.customer.seen", aggregate_id="customer"):
    """A class that would accept the marker as its payload."""

    customer: str = ""
    email: str = ""


def failing(seen: list[Any]) -> Module:
    """A module whose handlers write the payload into every error that is kept."""
    module = Module("shop")

    @module.on(Registered, retry=Retry(max_attempts=1))
    async def welcome(event: Registered) -> None:
        seen.append(event)
        if event.then == "die":
            raise LookupError(f"no such mailbox: {event.email}")
        if event.then == "discard":
            raise Discard(f"never mind {event.email}")

    @module.on("shop.customer.*", retry=Retry(max_attempts=9))
    async def copy(event: Event) -> None:
        seen.append(event)

    return module


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest_asyncio.fixture
async def events(stage: Stage, seen: list[Any]) -> AsyncIterator[Events]:
    yield await stage.idle(failing(seen))


async def register(events: Events, customer: str, then: str = "", **options: Any) -> Any:
    event = Registered(customer=customer, email=CANARY, then=then)
    return await events.publish(event, headers={"x-mail": CANARY}, **options)


async def everything(stage: Stage) -> str:
    """Every row of every table of ours, as text."""
    tables = await stage.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = 'events'::regnamespace "
        "AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    assert len(tables) > 10
    parts = [await stage.value(f"SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {t['name']} t") for t in tables]
    return "\n".join(parts)


async def test_nothing_is_left_of_it(stage: Stage, events: Events) -> None:
    await register(events, "4711", "die")
    await register(events, "4711")
    await register(events, "4711", "discard", key="other")
    await events.drain_once()
    await events.operations.discard([(await stage.deliveries("dead"))[0]["id"]], actor="ada", reason="wrong address")
    await register(events, "4711", "die", key="third")
    await events.drain_once()
    assert (await everything(stage)).count(CANARY) > 8
    ahead = await events.operations.preview_erase("customer", "4711")
    assert ahead == Erased(found=4, events=4, deliveries=3, attempts=3)
    assert await stage.value("SELECT count(*) FROM events.operator_action") == 1, "looking is no action"
    done = await events.operations.erase("customer", "4711", actor="dpo@shop.example", reason="request 12")
    assert done == ahead
    assert CANARY not in await everything(stage)
    assert await events.operations.erase("customer", "4711", actor="dpo", reason="again") == Erased(4, 0, 0, 0)


async def test_the_envelope_stays(stage: Stage, events: Events) -> None:
    await register(events, "4711", "die", tenant_id="acme")
    await events.drain_once()
    columns = (
        "position, xid::text, lane, partition, version, depth, id, correlation_id, causation_id, occurred_at, "
        "published_at, name, aggregate, aggregate_id, key, tenant_id, actor"
    )
    kept = (
        "id, handler_id, position, slot, state, reason, attempts, error_type, fingerprint, changed_at, holds, "
        "event - 'payload' - 'headers' AS event"
    )
    before = await stage.rows(f"SELECT {columns} FROM events.event")
    deliveries = await stage.rows(f"SELECT {kept} FROM events.delivery")
    await events.operations.erase("customer", "4711", actor="dpo", reason="request 12")
    assert await stage.rows(f"SELECT {columns} FROM events.event") == before
    assert await stage.rows(f"SELECT {kept} FROM events.delivery") == deliveries
    [row] = await stage.rows("SELECT payload::text, headers FROM events.event")
    assert (row["payload"], row["headers"]) == (ERASED_PAYLOAD, None)


async def test_it_is_recorded_without_the_id(stage: Stage, events: Events) -> None:
    await register(events, "ada@example.com", tenant_id="acme")
    await events.operations.erase("customer", "ada@example.com", actor="dpo@shop.example", reason="request 12")
    [action] = await stage.rows("SELECT * FROM events.operator_action")
    assert (action["action"], action["actor"], action["tenants"]) == ("erase", "dpo@shop.example", ["acme"])
    assert action["target"] == f"customer/sha256:{hashlib.sha256(b'ada@example.com').hexdigest()[:16]}"
    assert json.loads(action["details"]) == {"reason": "request 12", "events": 1, "deliveries": 0, "attempts": 0}


async def test_a_pending_event_is_not_delivered(stage: Stage, events: Events, seen: list[Any]) -> None:
    await register(events, "4711")
    await events.publish(Lenient(customer="4711", email=CANARY))
    await events.operations.erase("customer", "4711", actor="dpo", reason="request 12")
    await register(events, "4711")
    await events.drain_once()
    assert len(seen) == 2, "what was published afterwards, for both handlers"
    rows = await stage.deliveries()
    assert {(row["state"], row["reason"], row["note"]) for row in rows} == {("discarded", "erased", ERASED_TEXT)}
    assert len(rows) == 3
    found = await events.observe.event(rows[0]["event_id"])
    assert found is not None
    assert {one.note for one in found.deliveries} == {ERASED_TEXT}


async def test_a_dead_letter_that_is_redriven_is_discarded(stage: Stage, events: Events, seen: list[Any]) -> None:
    await register(events, "4711", "die")
    await register(events, "4711")
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    calls = len(seen)
    await events.operations.erase("customer", "4711", actor="dpo", reason="request 12")
    assert [row["state"] for row in await stage.deliveries()].count("dead") == 1, "until somebody acts"
    await events.operations.redrive([dead["id"]], actor="ada")
    await events.drain_once()
    rows = await stage.deliveries()
    assert {(row["state"], row["reason"]) for row in rows} == {("discarded", "erased")}
    assert len(seen) == calls


async def test_cursors_find_what_comes_after_and_nothing_twice(stage: Stage, seen: list[Any]) -> None:
    """An erasure rewrites rows that consumers have read, and rows that they have not: to them nothing has happened."""
    events = await stage.idle(failing(seen))
    for number in range(20):
        await register(events, f"c{number % 2}")
    await events.drain_once()
    assert len(seen) == 40
    await events.operations.erase("customer", "c0", actor="dpo", reason="x")
    await events.drain_once()
    assert (len(seen), await stage.deliveries()) == (40, [])
    for _ in range(5):
        await register(events, "c0")
        await register(events, "c1")
    await events.operations.erase("customer", "c0", actor="dpo", reason="x")
    await events.drain_once()
    assert len(seen) == 50
    assert len(await stage.deliveries("discarded")) == 10


async def test_while_it_is_drained(stage: Stage, seen: list[Any]) -> None:
    events = await stage.running(failing(seen))
    for number in range(60):
        await register(events, f"c{number % 3}", "die" if number % 5 == 0 else "", key=str(number))
        if number % 10 == 0:
            await events.operations.erase("customer", "c0", actor="dpo", reason="x")

    async def settled() -> bool:
        return await events.observe.oldest_pending_age() is None

    await until(settled)
    await events.operations.erase("customer", "c0", actor="dpo", reason="x")
    assert (await events.operations.preview_erase("customer", "c0")) == Erased(20, 0, 0, 0)
    assert (await events.operations.preview_erase("customer", "c1")).events == 20
    left = await stage.value("SELECT count(*) FROM events.event WHERE payload = $1::jsonb", ERASED_PAYLOAD)
    assert left == 20


async def test_page_by_page(stage: Stage, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "PAGE", 3)
    for number in range(7):
        await register(events, "4711", "die", key=str(number))
    await events.drain_once()
    await register(events, "4712")
    ahead = await events.operations.preview_erase("customer", "4711")
    assert await events.operations.erase("customer", "4711", actor="dpo", reason="x") == ahead == Erased(7, 7, 7, 7)
    counts = await stage.rows("SELECT (details ->> 'events')::int AS n FROM events.operator_action ORDER BY acted_at")
    assert [row["n"] for row in counts] == [3, 3, 1], "each transaction with its entry"
    assert await stage.value("SELECT count(*) FROM events.event WHERE payload <> $1::jsonb", ERASED_PAYLOAD) == 1


async def test_copies_of_events_that_the_log_has_dropped(
    stage: Stage, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PAGE", 2)
    for number in range(5):
        await register(events, "4711", "die", key=str(number), tenant_id="acme")
    await register(events, "4711", "die", key="x", tenant_id="nordwind")
    await events.drain_once()
    await stage.rows("DELETE FROM events.event")
    assert CANARY in await everything(stage)
    with pytest.raises(OperationRefused, match="2 tenants"):
        await events.operations.preview_erase("customer", "4711")
    ahead = await events.operations.preview_erase("customer", "4711", tenant_id="acme")
    done = await events.operations.erase("customer", "4711", tenant_id="acme", actor="dpo", reason="x")
    assert done == ahead == Erased(5, 0, 5, 5)
    assert len([row for row in await stage.deliveries() if CANARY in str(row["event"])]) == 1
    await events.operations.erase("customer", "4711", tenant_id="nordwind", actor="dpo", reason="x")
    assert CANARY not in await everything(stage)


async def test_whose_it_is_has_to_be_said(stage: Stage, events: Events) -> None:
    for tenant in ("acme", "nordwind", None):
        await register(events, "4711", tenant_id=tenant)
    with pytest.raises(OperationRefused, match=r"3 tenants have a customer of this id.*tenant_id"):
        await events.operations.erase("customer", "4711", actor="dpo", reason="x")

    async def left() -> list[str | None]:
        rows = await stage.rows(
            "SELECT tenant_id FROM events.event WHERE payload <> $1::jsonb ORDER BY position", ERASED_PAYLOAD
        )
        return [row["tenant_id"] for row in rows]

    assert await left() == ["acme", "nordwind", None]
    await events.operations.erase("customer", "4711", tenant_id=None, actor="dpo", reason="x")
    assert await left() == ["acme", "nordwind"]
    await events.operations.erase("customer", "4711", tenant_id="acme", actor="dpo", reason="x")
    assert await left() == ["nordwind"]
    with pytest.raises(OperationRefused, match="tenants"):
        await events.operations.erase("customer", "4711", actor="dpo", reason="x")


async def test_within_a_tenant_nobody_elses_is_there(stage: Stage, events: Events) -> None:
    await register(events, "4711", tenant_id="nordwind")
    await register(events, "4711", tenant_id=None)
    own = events.operations.within("acme")
    for options in ({}, {"tenant_id": "nordwind"}, {"tenant_id": None}, {"tenant_id": "acme"}):
        assert await own.erase("customer", "4711", actor="dpo", reason="x", **options) == Erased(0, 0, 0, 0)
    assert (await everything(stage)).count(ERASED_PAYLOAD) == 0
    assert await stage.value("SELECT count(*) FROM events.operator_action") == 0
    await register(events, "4711", tenant_id="acme")
    assert await own.erase("customer", "4711", actor="dpo", reason="x") == Erased(1, 1, 0, 0)


@pytest.mark.parametrize(
    ("aggregate", "aggregate_id", "actor", "reason", "problem"),
    [
        ("customer", "1", " ", "x", "actor is empty"),
        ("customer", "1", "dpo", " ", "needs a reason"),
        ("", "1", "dpo", "x", "aggregate='' names no aggregate"),
        ("customer", "", "dpo", "x", "aggregate_id='' names no aggregate"),
        ("customer", "a\x00", "dpo", "x", "aggregate_id"),
    ],
)
async def test_refused(
    events: Events, aggregate: str, aggregate_id: str, actor: str, reason: str, problem: str
) -> None:
    with pytest.raises(OperationRefused, match=problem) as caught:
        await events.operations.erase(aggregate, aggregate_id, actor=actor, reason=reason)
    assert not isinstance(caught.value, NotFound)
