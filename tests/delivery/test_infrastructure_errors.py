"""Failures of the database are not the handler's attempts; failures of the handler's own clients are."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
import sqlalchemy.exc
from sqlalchemy import text

from fastapi_events import Delivery, HandlerSession, Module, Retry
from fastapi_events.engine.batch_reader import BatchReader
from fastapi_events.engine.infrastructure import interrupted_delay, is_infrastructure
from fastapi_events.store.cursors import Batch
from tests.conftest import NewDatabase
from tests.delivery.conftest import EFFECTS
from tests.delivery.stage import Placed, Stage, effect, publish, until, within


async def run_sql(session: HandlerSession, query: str) -> Any:
    return (await (await session.connection()).execute(text(query))).all()


async def test_a_backend_terminated_under_a_handler_costs_no_attempt(stage: Stage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        attempts.append((delivery.attempt, delivery.redelivered))
        await effect(session, "handle", len(attempts))
        if len(attempts) == 1:
            [[pid]] = await run_sql(session, "SELECT pg_backend_pid()")
            await stage.rows("SELECT pg_terminate_backend($1, 5000)", pid)
            await run_sql(session, "SELECT 1")

    events = await stage.idle(module, handler_connections=1)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [waiting] = await stage.deliveries()
    assert (waiting["state"], waiting["attempts"], waiting["postponed"]) == ("waiting", 0, 1)
    await stage.make_due()
    await events.drain_once()
    assert attempts == [(1, False), (1, False)] or attempts == [(1, False), (1, True)]
    assert await stage.value("SELECT array_agg(number) FROM effect") == [2]


async def test_a_backend_terminated_before_the_commit_costs_no_attempt(stage: Stage) -> None:
    module, calls = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        calls.append(1)
        await effect(session, "handle", len(calls))
        if len(calls) == 1:
            [[pid]] = await run_sql(session, "SELECT pg_backend_pid()")
            await stage.rows("SELECT pg_terminate_backend($1, 5000)", pid)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert [(row["state"], row["attempts"]) for row in await stage.deliveries()] == [("waiting", 0)]
    await stage.make_due()
    await events.drain_once()
    assert await stage.value("SELECT array_agg(number) FROM effect") == [2]


async def test_deadlocks_serialization_failures_and_lock_time_outs_cost_no_attempt(stage: Stage) -> None:
    module, calls = Module("shop"), []
    failing = ["40P01", "40001", "55P03", "53400", "53300"]

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        calls.append(1)
        if len(calls) <= len(failing):
            state = failing[len(calls) - 1]
            await (await session.connection()).exec_driver_sql(
                f"DO $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END $$"
            )

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    for _ in failing:
        await events.drain_once()
        await stage.make_due()
    await events.drain_once()
    [row] = await stage.deliveries()
    assert (row["state"], row["attempts"], row["postponed"], len(calls)) == ("done", 1, 5, 6)


async def test_a_real_deadlock_of_two_handlers_ends_with_both_done(stage: Stage) -> None:
    module, both = Module("shop"), asyncio.Barrier(2)
    await stage.rows("INSERT INTO effect VALUES ('row', 1, 'a'), ('row', 2, 'b')")
    first = {"a": True, "b": True}

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        mine, other = (event.order, "b" if event.order == "a" else "a")
        connection = await session.connection()
        await connection.exec_driver_sql(f"UPDATE effect SET number = number + 10 WHERE label = '{mine}'")
        if first[event.order]:
            first[event.order] = False
            await both.wait()
        await connection.exec_driver_sql(f"UPDATE effect SET number = number + 10 WHERE label = '{other}'")

    events = await stage.idle(module)
    await publish(events, [Placed(order="a"), Placed(order="b")])
    await within(events.drain_once())
    await stage.make_due()
    await within(events.drain_once())
    assert await stage.value("SELECT array_agg(number ORDER BY label) FROM effect") == [21, 22]
    assert [row["attempts"] for row in await stage.deliveries()] == [1]


async def test_the_users_own_clients_errors_are_attempts(stage: Stage) -> None:
    import httpx

    module = Module("shop")
    errors = [
        ConnectionRefusedError("mail server"), TimeoutError("mail server"), httpx.ConnectTimeout("mail server"),
        TimeoutError(), BrokenPipeError(), OSError("no route"),
    ]  # fmt: skip

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        raise errors[event.number]

    events = await stage.idle(module)
    await publish(events, [Placed(order=str(number), number=number) for number in range(len(errors))])
    await events.drain_once()
    assert [(row["state"], row["reason"]) for row in await stage.deliveries()] == [("dead", "max_attempts")] * len(
        errors
    )


async def test_every_connection_terminated_again_and_again_loses_nothing(new_database: NewDatabase) -> None:
    stage = Stage(await new_database())
    await stage.rows(EFFECTS)
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, event.order, event.number, f"{event.order} {event.number}")
        seen.append(event.number)

    events = await stage.running(module)
    for round_number in range(6):
        for number in range(5):
            with contextlib.suppress(sqlalchemy.exc.DBAPIError):
                await publish(events, [Placed(order=str(number), number=round_number)], event_id=None)
        await stage.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND application_name <> 'stage'"
        )

    async def all_handled() -> bool:
        await stage.make_due()
        return await stage.value("SELECT count(*) FROM effect") == await stage.value(
            "SELECT count(*) FROM events.event"
        )

    await until(all_handled, "every event handled once")
    assert await stage.deliveries("dead") == []
    rows = await stage.rows(
        "SELECT handler, array_agg(number ORDER BY written) AS numbers FROM effect GROUP BY handler"
    )
    assert all(row["numbers"] == sorted(row["numbers"]) for row in rows)
    await stage.close()


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


def wrapped(state: str | None, *, invalidated: bool = False) -> BaseException:
    class Original(Exception):
        sqlstate = state

    return sqlalchemy.exc.DBAPIError("SELECT 1", {}, Original("as if"), connection_invalidated=invalidated)


TABLE = {
    "starting up": (wrapped("57P03"), True),
    "idle session terminated": (wrapped(None, invalidated=True), True),
    "terminated in a query": (wrapped("08003", invalidated=True), True),
    "too many connections": (wrapped("53300"), True),
    "pool time-out": (sqlalchemy.exc.TimeoutError("QueuePool limit"), True),
    "read-only node": (wrapped("25006"), True),
    "disk full": (wrapped("53100"), True),
    "statement time-out": (wrapped("57014"), False),
    "lock time-out": (wrapped("55P03"), True),
    "deadlock": (wrapped("40P01"), True),
    "serialization": (wrapped("40001"), True),
    "cached plan": (asyncpg.exceptions.InvalidCachedStatementError("cached plan"), True),
    "asyncpg: connection lost": (asyncpg.ConnectionDoesNotExistError("gone"), True),
    "asyncpg: closed": (asyncpg.InterfaceError("connection is closed"), True),
    "asyncpg: too many": (asyncpg.TooManyConnectionsError("sorry"), True),
    "idle in transaction": (wrapped("25P03", invalidated=True), True),
    "unique": (wrapped("23505"), False),
    "NUL": (wrapped("22021"), False),
    "overflow": (wrapped("22003"), False),
    "undefined table": (wrapped("42P01"), False),
    "aborted transaction": (wrapped("25P02"), False),
    "own ConnectionError": (raised(ConnectionResetError("peer")), False),
    "own TimeoutError": (raised(TimeoutError()), False),
    "own CancelledError": (raised(asyncio.CancelledError()), False),
    "own ValueError": (raised(ValueError("x")), False),
    "an integer for a state": (type("E", (Exception,), {"sqlstate": 40001})(), False),
}


@pytest.mark.parametrize("kind", TABLE)
def test_what_is_infrastructure_and_what_is_not(kind: str) -> None:
    error, expected = TABLE[kind]
    assert is_infrastructure(error) is expected
    outer = RuntimeError("the user's own wrapper")
    outer.__cause__ = error
    assert is_infrastructure(outer) is expected


async def test_a_server_that_is_down_is_infrastructure() -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        await asyncpg.connect("postgresql://nobody@127.0.0.1:1/none", timeout=2)
    assert is_infrastructure(caught.value)


def test_an_error_chained_only_by_context_is_the_handlers_own() -> None:
    error = ValueError("a defect in the except block")
    error.__context__ = asyncpg.ConnectionDoesNotExistError("gone")
    assert not is_infrastructure(error)


async def test_losing_every_connection_of_the_library_repeats_no_handler(stage: Stage) -> None:
    """Batches were thrown away for it, though the server had lost nothing."""
    module, seen, gate = Module("shop"), [], asyncio.Event()

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        seen.append(event.number)
        if event.number == 0:
            for _ in range(3):
                await stage.rows(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND application_name LIKE 'fastapi_events%'"
                )
                renewals = await stage.value("SELECT max(seq) FROM events.cursor_log")
                await until(lambda: renewed_since(stage, renewals), "the leases to be extended")  # noqa: B023
            gate.set()
        await gate.wait()

    events = await stage.idle(module, heartbeat=0.1, batch_size=1, lease=30.0)
    await publish(events, [Placed(order="a", number=number) for number in range(5)])
    await within(events.drain_once())
    assert seen == list(range(5))
    assert events.runtime.counters.stale_settles == 0
    assert await stage.deliveries() == []


async def test_a_connection_lost_while_reading_ahead_ends_no_drain(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, seen = Module("shop"), []
    locker = await asyncpg.connect(stage.url, server_settings={"application_name": "locker"})
    lock, reading, read_ahead = locker.transaction(), BatchReader.read, list[Batch]()

    async def cut() -> bool:
        """Cut the connection that reads ahead once it waits for the lock; others that wait are left alone."""
        return bool(
            await stage.rows(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                "AND wait_event_type = 'Lock' AND application_name LIKE 'fastapi_events%' "
                "AND query LIKE '%Finds work of one lane%'"
            )
        )

    async def read(reader: BatchReader, *args: Any) -> Batch:
        batch = await reading(reader, *args)
        if batch.size:  # a first look may come before the horizon has passed what was published
            read_ahead.append(batch)
        return batch

    monkeypatch.setattr(BatchReader, "read", read)

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        seen.append(event.number)
        if event.number == 0:
            await until(lambda: len(read_ahead) == 2, "the claim of the event that cuts")
            await lock.start()
            await locker.execute("LOCK TABLE events.cursor_log IN ACCESS EXCLUSIVE MODE")
        elif event.number == 1:
            await until(cut, "the claim that reads ahead")
            await lock.rollback()

    events = await stage.idle(module, batch_size=1, lease=30.0)
    await publish(events, [Placed(order="a", number=number) for number in range(4)])
    try:
        await within(events.drain_once())
    finally:
        await locker.close()
    assert seen == list(range(4))
    assert await stage.deliveries() == []


async def renewed_since(stage: Stage, seq: int) -> bool:
    return bool(await stage.value("SELECT max(seq) > $1 FROM events.cursor_log", seq))


async def test_a_statement_of_the_handlers_own_that_is_cancelled_each_time_is_its_failure(stage: Stage) -> None:
    module, calls = Module("shop"), []

    @module.on(Placed, retry=Retry(2))
    async def handle(event: Placed, session: HandlerSession) -> None:
        calls.append(1)
        connection = await session.connection()
        await connection.exec_driver_sql("SET LOCAL statement_timeout = '20ms'")
        await connection.exec_driver_sql("SELECT pg_sleep(5)")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    for _ in range(3):
        await events.drain_once()
        await stage.make_due()
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["attempts"], len(calls)) == ("dead", "max_attempts", 2, 2)


def test_interrupted_deliveries_wait_longer_each_time() -> None:
    assert [interrupted_delay(postponed) for postponed in (0, 1, 2, 5, 6, 500)] == [1, 2, 4, 32, 60, 60]


async def test_interruptions_are_retried_at_growing_intervals(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        raise asyncpg.DiskFullError("no space left")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    delays = []
    for _ in range(4):
        await events.drain_once()
        delays.append(
            await stage.value("SELECT round(extract(epoch FROM due_at - clock_timestamp())) FROM events.parked_key")
        )
        await stage.make_due()
    assert [int(delay) for delay in delays] == [1, 2, 4, 8]
    [waiting] = await stage.deliveries()
    assert (waiting["state"], waiting["attempts"], waiting["postponed"]) == ("waiting", 0, 4)
