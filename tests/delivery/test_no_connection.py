"""Where a connection cannot be had, no handler is to blame: nothing spends an attempt, and nothing stays broken."""

import contextlib
import socket
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from fastapi_events import Delivery, Events, HandlerSession, Module, Retry, RetryLater, SyncHandlerSession
from fastapi_events.errors import OperationUnavailable
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import SLOW, Pinged, Placed, Stage, collecting, effect, publish, until

FAILURES = [
    socket.gaierror(-2, "Name or service not known"),
    OSError(101, "Network is unreachable"),
    TimeoutError(),
    psycopg.OperationalError("connection failed"),
]


def failing(engine: Any, error: BaseException, times: int) -> None:
    """Have the engine's next connections fail."""
    left = times

    def connect(*_: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise error

    event.listen(engine, "do_connect", connect)


async def waiting_and_then_done(stage: Stage, events: Events, publisher: Events, calls: list[int]) -> None:
    await publish(publisher, [Pinged(number=1)])
    for postponed in (1, 2):
        await events.drain_once()
        [row] = await stage.deliveries()
        assert (row["state"], row["attempts"], row["postponed"]) == ("waiting", 0, postponed)
        assert calls == []
        await stage.make_due()
    await events.drain_once()
    assert calls == [1]
    [row] = await stage.deliveries()
    assert (row["state"], row["attempts"]) == ("done", 1)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_handler_that_was_never_called_has_spent_no_attempt(
    stage: Stage, error: BaseException, driver: str
) -> None:
    module, calls = Module("shop"), []

    @module.on(Pinged, retry=Retry(1))
    async def handle(event: Pinged, session: HandlerSession, delivery: Delivery) -> None:
        calls.append(delivery.attempt)
        await effect(session, "handle", 1)

    engine = create_async_engine(sqlalchemy_url(stage.url, driver))
    failing(engine.sync_engine, error, 2)
    events, publisher = await stage.idle(module, sessions=async_sessionmaker(engine)), await stage.idle()
    await waiting_and_then_done(stage, events, publisher, calls)
    await events.stop()
    await engine.dispose()


async def test_a_def_handler_too(stage: Stage) -> None:
    module, calls = Module("shop"), []

    @module.on(Pinged, retry=Retry(1))
    def handle(event: Pinged, session: SyncHandlerSession, delivery: Delivery) -> None:
        calls.append(delivery.attempt)

    engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
    failing(engine, psycopg.OperationalError("connection failed"), 2)
    events = await stage.idle(module, sync_sessions=sessionmaker(engine))
    await waiting_and_then_done(stage, events, events, calls)
    await events.stop()
    engine.dispose()


async def test_what_cannot_be_recorded_for_now_is_not_dead(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    module, calls = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RetryLater(0.1)

    events = await stage.running(module)
    assert events.runtime.redelivery is not None
    store: Any = events.runtime.redelivery._store
    settle, failed = store.settle, []

    async def once_broken(result: Any) -> bool:
        if not failed:
            failed.append(1)
            raise RuntimeError("neither the infrastructure's fault nor the event's")
        return bool(await settle(result))

    monkeypatch.setattr(store, "settle", once_broken)
    await events.publish(Placed(order="a"))
    await until(lambda: failed)
    # Its lease has to run out before it is tried again.
    await stage.rows("UPDATE events.parked_key SET due_at = clock_timestamp() WHERE worker_id IS NOT NULL")
    await until(lambda: _state_is(stage, "done"))
    assert len(calls) == 3


async def _state_is(stage: Stage, state: str) -> bool:
    return {row["state"] for row in await stage.deliveries()} == {state}


async def test_connections_that_were_opened_on_a_standby_are_not_kept(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), poll_interval=0.1, poll_interval_degraded=0.1)
    name = await stage.value("SELECT current_database()")
    await stage.rows(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        await stage.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'fastapi_events%'"
        )
        await stage.rows(
            "INSERT INTO events.event (lane, partition, name, id, correlation_id, payload) "
            "VALUES (1, 3, 'shop.page.pinged', gen_random_uuid(), gen_random_uuid(), '{\"number\": 5}')"
        )
        await until(lambda: any("ReadOnly" in str(loop.failing) for loop in events.runtime.drain_loops))
    finally:
        await stage.rows(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await until(lambda: seen == [5])


async def test_a_handler_that_makes_its_connection_read_only_spoils_it_for_nobody(stage: Stage) -> None:
    module, done = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number)
        if event.number == 1:
            await (await session.connection()).exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        done.append(event.number)

    engine = create_async_engine(sqlalchemy_url(stage.url), pool_size=1, max_overflow=0)
    events = await stage.running(module, sessions=async_sessionmaker(engine), handler_connections=1)
    publisher = await stage.idle()
    for number in (1, 2, 3):
        await publisher.publish(Placed(order=str(number), number=number))
        await until(lambda: sorted(set(done)) == list(range(1, number + 1)))  # noqa: B023
    await until(lambda: _effects_are(stage, [1, 2, 3]))
    await events.stop()
    await engine.dispose()


async def _effects_are(stage: Stage, numbers: list[int]) -> bool:
    return sorted(row["number"] for row in await stage.rows("SELECT number FROM effect")) == numbers


async def test_connections_that_disagree_about_the_servers_life_are_made_anew(stage: Stage) -> None:
    events = await stage.idle()
    database = events.runtime.database
    async with database.acquire() as one, database.acquire() as other:
        pids = [await connection.fetchval("SELECT pg_backend_pid()") for connection in (one, other)]
        assert await database.life_of(one) == await database.life_of(other)
    await stage.rows("SELECT pg_stat_reset_shared('bgwriter')")
    await stage.rows("SELECT pg_terminate_backend($1, 5000)", pids[0])

    async def agree() -> bool:
        with contextlib.suppress(asyncpg.InterfaceError):  # the terminated one may be taken once more
            async with database.acquire() as one, database.acquire() as other:
                return bool(await database.life_of(one) == await database.life_of(other))
        return False

    await until(agree)


async def test_a_look_that_fails_once_is_repeated_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), notify="off", **SLOW)
    await until(lambda: not any(loop._flag.is_set() for loop in events.runtime.drain_loops))
    [drain] = [loop for loop in events.runtime.drain_loops if loop._lane == 1]
    claim, failed = drain._cursors.claim, []

    async def once_broken(*arguments: Any, **options: Any) -> Any:
        if not failed:
            failed.append(1)
            raise ConnectionError("once")
        return await claim(*arguments, **options)

    monkeypatch.setattr(drain._cursors, "claim", once_broken)
    await events.publish(Pinged(number=1))
    await until(lambda: seen == [1])
    assert failed


async def test_a_redrive_that_has_to_wait_too_long_says_so(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        raise ValueError("no")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert stage.connection is not None
    async with stage.connection.transaction():
        await stage.rows("SELECT FROM events.delivery FOR UPDATE")
        with pytest.raises(OperationUnavailable, match="Nothing was changed; try again"):
            await events.operations.redrive([dead["id"]], actor="tester")
    assert (await events.operations.redrive([dead["id"]], actor="tester")).changed == 1
