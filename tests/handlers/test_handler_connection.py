"""Handlers that write SQL themselves, on the driver's own connection: the same promise as with a session."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import (
    Delivery,
    EventPublisher,
    Events,
    HandlerConnection,
    HandlerSession,
    Module,
    Retry,
    SyncHandlerSession,
    fixed,
)
from fastapi_events.errors import HandlerSessionMisuse, InvalidHandler
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, until, within
from tests.handlers.test_transactional import FORGET, effects

INSERT = "INSERT INTO effect VALUES ($1, $2, $3)"


async def test_effects_and_mark_commit_together_and_a_redelivery_is_skipped(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        seen.append(event.number)
        assert await connection.execute(INSERT, "handle", event.number, None) == "INSERT 0 1"

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="b", number=2)])
    await events.drain_once()
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 2
    await stage.rows(FORGET)
    assert await events.drain_once() == 2
    assert await effects(stage) == [1, 2]
    assert sorted(seen) == [1, 2]
    assert await stage.deliveries() == []


async def test_a_failed_attempt_leaves_neither_effect_nor_mark_nor_child(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, connection: HandlerConnection, publish: EventPublisher, delivery: Delivery) -> None:
        await connection.execute(INSERT, "handle", delivery.attempt, None)
        await publish(Shipped(order=event.order, number=delivery.attempt))
        if delivery.attempt == 1:
            raise ValueError("not yet")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert await effects(stage) == [2]
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 1
    shipped = "SELECT array_agg((payload ->> 'number')::int) FROM events.event WHERE name = 'shop.order.shipped'"
    assert await stage.value(shipped) == [2]


async def test_what_such_a_handler_publishes_wakes_its_handlers(stage: Stage) -> None:
    module, shipped = Module("shop"), []

    @module.on(Placed)
    async def ship(event: Placed, connection: HandlerConnection, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order, number=event.number))

    @module.on(Shipped)
    async def note(event: Shipped) -> None:
        shipped.append(event.number)

    events = await stage.running(module, poll_interval=60.0)
    for number in range(3):
        await events.publish(Placed(order="a", number=number))
    await until(lambda: shipped == [0, 1, 2])


async def test_statements_of_every_kind(stage: Stage) -> None:
    module, seen = Module("shop"), {}

    @module.on(Placed)
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        await connection.executemany(INSERT, [("many", number, None) for number in (1, 2, 3)])
        seen["fetch"] = [row["number"] for row in await connection.fetch("SELECT number FROM effect ORDER BY number")]
        row = await connection.fetchrow("SELECT max(number) AS most, 'x' AS other FROM effect")
        seen["fetchrow"] = row["most"] if row is not None else None
        seen["none"] = await connection.fetchrow("SELECT 1 WHERE false")
        seen["fetchval"] = await connection.fetchval("SELECT 'a', 'b'", column=1)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert seen == {"fetch": [1, 2, 3], "fetchrow": 3, "none": None, "fetchval": "b"}
    assert await effects(stage) == [1, 2, 3]


async def test_savepoints_undo_their_part_and_let_the_transaction_go_on(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        async with connection.savepoint():
            await connection.execute(INSERT, "kept", 1, "same")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.savepoint():
                    await connection.execute(INSERT, "kept", 2, "same")
        with pytest.raises(ValueError, match="no"):
            async with connection.savepoint():
                await connection.execute(INSERT, "dropped", 3, None)
                raise ValueError("no")
        await connection.execute(INSERT, "kept", 4, None)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert await stage.deliveries() == []
    assert await effects(stage) == [1, 4]


async def test_success_after_a_swallowed_database_error_is_no_success(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        await connection.execute(INSERT, "handle", 1, "same")
        try:
            await connection.execute(INSERT, "handle", 2, "same")
        except asyncpg.UniqueViolationError:
            return

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("TransactionAborted")
    assert await effects(stage) == []


@pytest.mark.parametrize("last", [True, False])
async def test_a_handler_that_ends_the_transaction_is_told(stage: Stage, last: bool) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        await connection.execute(INSERT, "handle", 1, None)
        await connection.execute("ROLLBACK")
        if not last:
            await connection.execute(INSERT, "handle", 2, None)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert "sent BEGIN, COMMIT or ROLLBACK through its HandlerConnection" in dead["error_message"]
    assert "Return to commit, raise to roll back" in dead["error_message"]
    assert await effects(stage) == []


async def test_a_connection_that_outlives_its_handler_is_of_no_use(stage: Stage) -> None:
    """The connection serves the next delivery by then: what is left behind must not write into that one."""
    module, left = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        left.append(connection)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    with pytest.raises(HandlerSessionMisuse, match="after its handler had returned"):
        await left[0].execute(INSERT, "late", 1, None)


async def test_a_session_beside_it_is_in_the_same_transaction(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, connection: HandlerConnection, session: HandlerSession, delivery: Delivery) -> None:
        await effect(session, "session", 1)
        seen.append(await connection.fetchval("SELECT count(*) FROM effect"))
        await connection.execute(INSERT, "connection", 2, None)
        if delivery.attempt == 1:
            raise ValueError("not yet")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert seen == [1, 1]
    assert await effects(stage) == [1, 2]


async def test_a_transaction_that_hangs_past_its_time_out_commits_nothing(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, timeout=0.3, retry=Retry(1))
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        await connection.execute(INSERT, "handle", 1, None)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            with pytest.raises((asyncpg.InterfaceError, HandlerSessionMisuse)):
                await connection.execute(INSERT, "handle", 2, None)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 10)
    [dead] = await stage.deliveries("dead")
    assert dead["reason"] == "timed_out"
    assert await effects(stage) == []


def test_where_it_cannot_be_given_it_is_refused_at_assembly() -> None:
    def check(function: Any, pattern: str, **options: Any) -> None:
        module = Module("shop")
        module.on(Placed, id="shop.handle")(function)
        with pytest.raises(InvalidHandler, match=pattern):
            Events([module], **options)

    async def handle(event: Placed, connection: HandlerConnection) -> None: ...

    def in_thread(event: Placed, connection: HandlerConnection) -> None: ...

    def two(event: Placed, connection: HandlerConnection, session: SyncHandlerSession) -> None: ...

    psycopg = create_async_engine(sqlalchemy_url("postgresql://localhost/shop", "psycopg"))
    check(handle, "a HandlerConnection is asyncpg's", sessions=async_sessionmaker(psycopg))
    check(in_thread, "cannot use a HandlerConnection")
    check(two, "which are two transactions")
