"""Batch handlers: lists of consecutive events, one transaction each; what fails is handed over event by event."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import (
    AttemptContext,
    AttemptNext,
    Breaker,
    Delivery,
    Discard,
    Event,
    EventPublisher,
    Events,
    HandleContext,
    HandleNext,
    HandlerConnection,
    HandlerSession,
    Middleware,
    Module,
    RawEvent,
    Retry,
    RetryLater,
    Secret,
    fixed,
)
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, effect, publish, until, within

EFFECTS = "SELECT coalesce(array_agg(number ORDER BY written), '{}') FROM effect"
MARKS = "SELECT count(*) FROM events.processing_mark WHERE outcome = 'd'"


class Told(Event, name="shop.order.told", aggregate_id="order"):
    order: str
    word: Annotated[str, Secret]


class Failures(Middleware):
    """Keeps what attempts failed with."""

    def __init__(self) -> None:
        self.messages = list[str]()

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        outcome = await call_next(context)
        self.messages.append(outcome.failure.message if outcome.failure is not None else "")


def placed(count: int, order: str = "a") -> list[Placed]:
    return [Placed(order=order, number=number) for number in range(count)]


def numbers(events: Sequence[Placed | Pinged]) -> list[int]:
    return [event.number for event in events]


async def settle(stage: Stage, events: Events) -> None:
    """Handle everything, what waits for its back-off too."""
    await events.drain_once()
    while await stage.deliveries("waiting"):
        await stage.make_due()
        await within(events.drain_once())


async def test_a_list_holds_consecutive_events_in_order_up_to_its_size(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=4)
    async def project(events: list[Placed]) -> None:
        lists.append(numbers(events))

    events = await stage.idle(module)
    await publish(events, placed(10))
    assert await events.drain_once() == 10
    assert lists == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert await stage.value("SELECT sum(cardinality(positions)) FROM events.success_batch") == 10
    assert await stage.deliveries() == []


async def test_other_handlers_of_the_events_are_given_them_one_by_one(stage: Stage) -> None:
    module, lists, single = Module("shop"), list[list[int]](), list[int]()

    @module.on(Placed, batch=100)
    async def project(events: Sequence[Placed]) -> None:
        lists.append(numbers(events))

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        single.append(event.number)

    events = await stage.idle(module)
    await publish(events, placed(5))
    await events.drain_once()
    assert (lists, single) == ([[0, 1, 2, 3, 4]], [0, 1, 2, 3, 4])


@pytest.mark.parametrize("kind", ["session", "connection"])
async def test_effects_and_the_marks_of_all_events_are_one_transaction(stage: Stage, kind: str) -> None:
    module, transactions = Module("shop"), set[int]()

    async def project(events: list[Placed], connection: HandlerConnection) -> None:
        for event in events:
            await connection.execute("INSERT INTO effect VALUES ('list', $1)", event.number)
        transactions.add(await connection.fetchval("SELECT pg_current_xact_id()::text::bigint"))

    async def in_session(events: list[Placed], session: HandlerSession) -> None:
        for event in events:
            await effect(session, "list", event.number)

    module.on(Placed, batch=100, id="shop.project")(project if kind == "connection" else in_session)
    events = await stage.idle(module)
    await publish(events, placed(6))
    await events.drain_once()
    assert await stage.value(EFFECTS) == [0, 1, 2, 3, 4, 5]
    assert await stage.value(MARKS) == 6
    assert await stage.value("SELECT count(DISTINCT xmin::text) = 1 FROM effect")
    assert await stage.value("SELECT count(DISTINCT xmin::text) = 1 FROM events.processing_mark")


async def test_sessions_of_another_driver_take_the_marks_of_a_list_too(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100)
    async def project(events: list[Placed], session: HandlerSession) -> None:
        lists.append(numbers(events))
        for event in events:
            await effect(session, "list", event.number)
        if len(lists) == 1:
            raise ValueError("no")

    engine = create_async_engine(sqlalchemy_url(stage.url, "psycopg"))
    try:
        events = await stage.idle(module, sessions=async_sessionmaker(engine))
        await publish(events, placed(3))
        await events.drain_once()
        assert lists == [[0, 1, 2], [0], [1], [2]]
        await publish(events, placed(2))
        await events.drain_once()
        await events.stop()
    finally:
        await engine.dispose()
    assert await stage.value(EFFECTS) == [0, 1, 2, 0, 1]
    assert await stage.value(MARKS) == 5


class Looking(Middleware):
    """Notes what it sees of attempts and calls."""

    def __init__(self) -> None:
        self.attempts, self.calls = list[tuple[int, str]](), list[list[int]]()

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        outcome = await call_next(context)
        self.attempts.append((context.attempt, outcome.kind))

    async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
        self.calls.append(numbers(context.event))
        await call_next(context.replace(event=context.event[:2]))


async def test_middleware_sees_one_call_and_one_attempt_of_a_list(stage: Stage) -> None:
    looking, lists = Looking(), list[list[int]]()
    module = Module("shop", middleware=[looking])

    @module.on(Placed, batch=100, retry=Retry(1))
    async def project(events: list[Placed], session: HandlerSession) -> None:
        lists.append(numbers(events))
        if len(lists) == 1:
            raise ValueError("no")

    events = await stage.idle(module)
    await publish(events, placed(3))
    await events.drain_once()
    assert looking.calls == [[0, 1, 2], [0], [1], [2]]
    assert looking.attempts == [(1, "dead"), (1, "done"), (1, "done"), (1, "done")]
    assert lists == [[0, 1], [0], [1], [2]]
    assert await stage.deliveries() == []


async def test_a_list_reveals_no_secret_of_its_events(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Told, batch=100, retry=Retry(1), ordered=False)
    async def project(events: list[Told], deliveries: list[Delivery]) -> None:
        raise ValueError(f"could not do {[event.word for event in events]}")

    looking = Failures()
    events = await stage.idle(module, middleware=[looking])
    await publish(events, [Told(order="a", word=f"open-{number}-sesame") for number in range(3)])
    await events.drain_once()
    assert len(looking.messages) == 4
    assert not any("sesame" in message for message in looking.messages)
    assert not any("sesame" in row["error_message"] for row in await stage.deliveries())


@pytest.mark.parametrize("on_dead", ["park", "continue"])
async def test_only_the_culprit_of_a_list_dies(stage: Stage, on_dead: Any) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100, retry=Retry(1), on_dead=on_dead)
    async def project(events: list[Placed], session: HandlerSession) -> None:
        lists.append(numbers(events))
        for event in events:
            await effect(session, "list", event.number)
            if event.number == 2:
                raise ValueError("no")

    events = await stage.idle(module)
    await publish(events, placed(5))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert (dead["attempts"], dead["reason"], dead["error_message"]) == (1, "max_attempts", "no")
    if on_dead == "park":
        assert lists == [[0, 1, 2, 3, 4], [0], [1], [2]]
        assert [row["reason"] for row in await stage.deliveries("waiting")] == ["key_blocked", "key_blocked"]
        assert await stage.value(EFFECTS) == [0, 1]
    else:
        assert lists == [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4]]
        assert await stage.value(EFFECTS) == [0, 1, 3, 4]


async def test_a_culprit_is_retried_as_a_list_of_one_and_its_key_follows(stage: Stage) -> None:
    module, lists = Module("shop"), list[tuple[list[int], int, bool]]()

    @module.on(Placed, batch=100, retry=Retry(2, fixed(0)))
    async def project(events: list[Placed], deliveries: list[Delivery], session: HandlerSession) -> None:
        lists.append((numbers(events), deliveries[0].attempt, deliveries[0].redelivered))
        assert len(events) == len(deliveries)
        if any(event.number == 1 for event in events) and deliveries[0].attempt == 1:
            raise ValueError("no")
        for event in events:
            await effect(session, "list", event.number)

    events = await stage.idle(module)
    await publish(events, placed(3))
    await settle(stage, events)
    assert await stage.value(EFFECTS) == [0, 1, 2]
    alone = [([0], 1, True), ([1], 1, True), ([1], 2, True), ([2], 1, False)]
    assert lists == [([0, 1, 2], 1, False), *alone]


async def test_events_handled_before_are_left_out(stage: Stage) -> None:
    module, lists, kept = Module("shop"), list[list[int]](), list[list[str]]()

    @module.on(Placed, batch=100, idempotency_key=lambda event: f"{event.number % 3}")
    async def project(events: list[Placed], deliveries: list[Delivery], session: HandlerSession) -> None:
        lists.append(numbers(events))
        kept.append([delivery.idempotency_key for delivery in deliveries])

    events = await stage.idle(module)
    await events.publish(Placed(order="a", number=1))
    await events.drain_once()
    await publish(events, placed(6))
    await events.drain_once()
    await publish(events, placed(6))
    await events.drain_once()
    assert (lists, kept) == ([[1], [0, 2]], [["1"], ["0", "2"]])
    assert await stage.value(MARKS) == 3
    assert await stage.deliveries() == []


async def test_keys_of_a_handler_without_a_session_are_marked_too(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100, idempotency_key=lambda event: f"{event.number % 3}")
    async def project(events: list[Placed]) -> None:
        lists.append(numbers(events))

    events = await stage.idle(module)
    await publish(events, placed(5))
    await events.drain_once()
    await publish(events, placed(5))
    await events.drain_once()
    assert (lists, await stage.value(MARKS)) == ([[0, 1, 2]], 3)


async def test_what_a_list_publishes_is_published_once_however_lists_are_cut(stage: Stage) -> None:
    module, broken = Module("shop"), [True]

    @module.on(Placed, batch=100, retry=Retry(3, fixed(60)))
    async def project(events: list[Placed], session: HandlerSession, publish: EventPublisher) -> None:
        for event in events:
            await publish(Shipped(order=event.order, number=event.number))
        if any(event.number == 2 for event in events) and broken:
            raise ValueError("no")

    events = await stage.idle(module)
    await publish(events, placed(3))
    await events.drain_once()
    broken.clear()
    await publish(events, [Placed(order="a", number=number) for number in range(3, 6)])
    await settle(stage, events)
    rows = await stage.rows(
        "SELECT id, (payload ->> 'number')::int AS number, correlation_id, causation_id FROM events.event "
        "WHERE name = 'shop.order.shipped' ORDER BY position"
    )
    assert sorted(row["number"] for row in rows) == [0, 1, 2, 3, 4, 5]
    assert len({row["id"] for row in rows}) == 6
    assert all(row["causation_id"] is not None for row in rows)


async def test_an_event_that_cannot_be_read_dies_alone_and_the_others_stay_together(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100, on_dead="continue")
    async def project(events: list[Placed]) -> None:
        lists.append(numbers(events))

    events = await stage.idle(module)
    await publish(events, placed(6))
    await stage.rows("UPDATE events.event SET payload = '{\"order\": \"a\", \"number\": \"x\"}' "
                     "WHERE payload ->> 'number' = '2'")  # fmt: skip
    await events.drain_once()
    assert lists == [[0, 1], [3, 4, 5]]
    [dead] = await stage.deliveries()
    assert (dead["state"], dead["reason"]) == ("dead", "invalid_payload")


@pytest.mark.parametrize("error", [Discard("old"), RetryLater(0.0)])
async def test_what_is_raised_for_a_list_is_not_meant_for_all_of_it(stage: Stage, error: Exception) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, batch=100)
    async def project(events: list[Placed]) -> None:
        if 1 in numbers(events) and seen.count(1) == 0:
            if len(events) == 1:
                seen.append(1)
            raise error
        seen.extend(numbers(events))

    events = await stage.idle(module)
    await publish(events, placed(3))
    await settle(stage, events)
    assert sorted(set(seen)) == [0, 1, 2]
    [*rows] = await stage.deliveries("discarded")
    assert len(rows) == (1 if isinstance(error, Discard) else 0)
    assert {row["state"] for row in await stage.deliveries()} <= {"done", "discarded"}


async def test_a_list_has_the_time_of_one_handler(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100, timeout=0.2, retry=Retry(1))
    async def project(events: list[Placed]) -> None:
        lists.append(numbers(events))
        if len(events) > 1:
            await asyncio.Event().wait()

    events = await stage.idle(module)
    await publish(events, placed(3))
    await within(events.drain_once())
    assert lists == [[0, 1, 2], [0], [1], [2]]
    assert await stage.deliveries() == []


async def test_a_failed_list_is_one_failure_to_the_breaker(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100, retry=Retry(5), breaker=Breaker(threshold=3), ordered=False)
    async def project(events: list[Placed]) -> None:
        lists.append(numbers(events))
        raise ValueError("no")

    events = await stage.idle(module)
    await publish(events, placed(5))
    await within(events.drain_once())
    assert lists == [[0, 1, 2, 3, 4], [0], [1]]
    reasons = [row["reason"] for row in await stage.deliveries()]
    assert reasons == ["retry", "retry", "breaker_open", "breaker_open", "breaker_open"]


async def test_a_list_is_of_one_tenant(stage: Stage) -> None:
    module, tenants, count = Module("shop"), list[set[str | None]](), list[int]()

    @module.on(Pinged, batch=100)
    async def project(events: list[Pinged], deliveries: list[Delivery]) -> None:
        tenants.append({delivery.tenant_id for delivery in deliveries})
        count.append(len(events))

    events = await stage.idle(module)
    async with events.session() as session:
        publisher = events.publisher(session)
        for number in range(120):
            await publisher(Pinged(number=number), tenant_id=f"t{number % 2}")
        await session.commit()
    await events.drain_once()
    assert sum(count) == 120
    assert max(map(len, tenants)) == 1


async def test_wildcards_and_unions_are_given_lists(stage: Stage) -> None:
    module, raw, known, both = Module("shop"), list[str](), list[str](), list[str]()

    @module.on("shop.order.*", batch=10)
    async def raws(events: list[RawEvent]) -> None:
        raw.extend(event.name for event in events)

    @module.on("shop.order.*", batch=10)
    async def any_of_them(events: list[Event]) -> None:
        known.extend(type(event).__name__ for event in events)

    @module.on(Placed, batch=10, id="shop.both_placed")
    @module.on(Shipped, batch=10, id="shop.both_shipped")
    async def either(events: list[Placed | Shipped]) -> None:
        both.extend(type(event).__name__ for event in events)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a"), Shipped(order="a")])
    await events.drain_once()
    assert raw == ["shop.order.placed", "shop.order.shipped"]
    assert known == ["Placed", "Shipped"]
    assert sorted(both) == ["Placed", "Shipped"]


class Waiting:
    def __init__(self) -> None:
        self.begun, self.go, self.fail = asyncio.Event(), asyncio.Event(), False
        self.lists = list[list[int]]()
        self.module = Module("shop")
        self.module.on(Placed, batch=100, id="shop.project", retry=Retry(1))(self.project)

    async def project(self, events: list[Placed], session: HandlerSession) -> None:
        self.lists.append(numbers(events))
        for event in events:
            await effect(session, "list", event.number)
        if len(events) > 1:
            self.begun.set()
            await self.go.wait()
            if self.fail:
                raise ValueError("not together")


@pytest.mark.parametrize("fails", [False, True])
async def test_a_slow_list_is_detached_as_a_whole_and_its_keys_wait(stage: Stage, *, fails: bool) -> None:
    waiting = Waiting()
    waiting.fail = fails
    events = await stage.idle(waiting.module, inline_budget=0.05)
    await publish(events, placed(4))
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: stage.value("SELECT count(*) = 4 FROM events.delivery WHERE reason = 'detached'"))
    assert await stage.value("SELECT count(*) FROM effect") == 0
    waiting.go.set()
    await within(draining)
    await settle(stage, events)
    assert waiting.lists == ([[0, 1, 2, 3], [0], [1], [2], [3]] if fails else [[0, 1, 2, 3]])
    assert await stage.value(EFFECTS) == [0, 1, 2, 3]
    assert {(row["state"], row["attempts"]) for row in await stage.deliveries()} == {("done", 1)}


async def test_a_stop_gives_the_events_of_a_list_back(stage: Stage) -> None:
    stuck, heir = Waiting(), Waiting()
    heir.go.set()
    first = await stage.running(stuck.module, shutdown_grace=0.1)
    await publish(first, placed(3))
    await within(stuck.begun.wait())
    await within(first.stop())
    second = await stage.idle(heir.module)
    await settle(stage, second)
    assert sorted(await stage.value(EFFECTS)) == [0, 1, 2]
    assert {(row["state"], row["attempts"]) for row in await stage.deliveries()} == {("done", 1)}


async def test_what_a_list_publishes_comes_from_the_first_event_that_is_left_in(stage: Stage) -> None:
    module, lists = Module("shop"), list[list[int]]()

    @module.on(Placed, batch=100)
    async def project(events: list[Placed], session: HandlerSession, publish: EventPublisher) -> None:
        lists.append(numbers(events))
        await publish(Shipped(order="a"))

    events = await stage.idle(module)
    await publish(events, placed(3))
    await stage.rows(  # as a process leaves it that died after the first event's commit, before its batch was settled
        "INSERT INTO events.processing_mark (handler_id, key, position) SELECT h.id, e.id, e.position "
        "FROM events.handler h, events.event e WHERE e.payload ->> 'number' = '0'"
    )
    await events.drain_once()
    assert lists == [[1, 2]]
    causes = await stage.rows(
        "SELECT c.payload ->> 'number' AS number FROM events.event e JOIN events.event c ON c.id = e.causation_id"
    )
    assert [row["number"] for row in causes] == ["1"]
    assert await stage.value(MARKS) == 3


async def test_what_stops_the_infrastructure_is_not_met_once_for_each_event(stage: Stage) -> None:
    module, lists, broken = Module("shop"), list[list[int]](), [True]

    @module.on(Placed, batch=100, ordered=False)
    async def project(events: list[Placed], session: HandlerSession) -> None:
        lists.append(numbers(events))
        if broken:
            raise asyncpg.DeadlockDetectedError("deadlock detected")

    events = await stage.idle(module)
    await publish(events, placed(4))
    await events.drain_once()
    assert lists == [[0, 1, 2, 3], [0]]
    broken.clear()
    await settle(stage, events)
    assert sorted(lists[2:]) == [[0], [1], [2], [3]]
    assert {(row["state"], row["attempts"]) for row in await stage.deliveries()} == {("done", 1)}
