"""Jobs on memory, in the transactions of any database, over restarts, and where PostgreSQL would wait."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session

from fastapi_events import (
    Concurrency,
    Dedupe,
    Events,
    EventsSettings,
    HandlerSession,
    JobContext,
    Module,
    Retry,
)
from fastapi_events.api.session_binding import bind_jobs
from fastapi_events.errors import NotOnMemory
from fastapi_events.testing import in_memory
from tests.delivery.stage import QUICK, SLOW, until, within


def noting(seen: list[str], **options: Any) -> tuple[Module, Any]:
    """A module, and its one job, which notes its inputs."""
    module = Module("shop")

    @module.job("shop.restock", **options)
    async def restock(job: JobContext[str]) -> str:
        seen.append(job.input)
        return job.input

    return module, restock


async def test_a_plain_session_of_sqlite_carries_starts(engine: Engine) -> None:
    seen: list[str] = []
    module, restock = noting(seen)
    events = Events([module])
    async with in_memory(events):
        with Session(engine) as session:
            jobs = bind_jobs(events.publishing, session)
            await jobs.start(restock, "lost")
            session.rollback()
            await jobs.start(restock, "kept")
            await events.drain_once()
            assert seen == []
            session.commit()
        with engine.begin() as connection:
            await bind_jobs(events.publishing, connection).start(restock, "on a connection")
        await events.drain_once()
    assert seen == ["kept", "on a connection"]


async def test_what_is_started_outlives_a_restart_and_goes_on_where_it_was() -> None:
    module, seen = Module("shop"), list[str]()

    async def first() -> int:
        seen.append("first")
        return 1

    @module.job()
    async def restock(job: JobContext[None]) -> int:
        done = await job.step("first", first)
        await job.sleep(3600)
        return done

    events = Events([module])
    with in_memory(events) as memory:
        await events.start()
        started = await events.jobs.start(restock, None)
        await events.drain_once()
        await events.stop()
        await events.start()
        memory.clock.advance(3601)
        await events.drain_once()
        assert await events.jobs.result(started, timeout=1) == 1
        await events.stop()
    assert seen == ["first"]


async def test_a_run_that_was_cut_off_by_a_stop_is_run_again() -> None:
    module, begun, attempts = Module("shop"), asyncio.Event(), list[int]()

    @module.job()
    async def restock(job: JobContext[None]) -> None:
        attempts.append(job.attempt)
        begun.set()
        if len(attempts) == 1:
            await asyncio.Event().wait()

    events = Events([module], settings=EventsSettings(**QUICK | {"shutdown_grace": 0.01}))
    with in_memory(events, drains=True):
        await events.start()
        started = await events.jobs.start(restock, None)
        await within(begun.wait())
        await events.stop()
        await events.start()
        await within(events.jobs.result(started, timeout=10))
        await events.stop()
    assert attempts == [1, 1]  # the attempt was not spent


@pytest.mark.parametrize(
    "limit", [{"dedupe": Dedupe()}, {"concurrency": Concurrency(key=lambda sku: sku, on_collision="reject")}]
)
async def test_a_key_that_another_open_transaction_has_started_is_refused(
    engine: Engine, limit: dict[str, Any]
) -> None:
    seen: list[str] = []
    module, restock = noting(seen, **limit)
    events = Events([module])
    async with in_memory(events):
        with Session(engine) as session:
            await bind_jobs(events.publishing, session).start(restock, "a")
            with pytest.raises(NotOnMemory, match=r"jobs\.start\(shop\.restock\) of the key .* would wait for its end"):
                await events.jobs.start(restock, "a")
            await events.jobs.start(restock, "b")
            session.rollback()
        await events.jobs.start(restock, "a")
        await events.drain_once()
    assert seen == ["b", "a"]


async def test_effects_that_are_not_committed_leave_the_step_undone() -> None:
    """The COMMIT itself fails: neither the step's result nor what it published has come true."""
    module, done = Module("shop"), list[int]()

    async def charge(number: int, session: HandlerSession) -> int:
        if number == 1:
            await (await session.connection()).execute(
                text("INSERT INTO child VALUES (7)")
            )  # no parent: refused at the commit
        done.append(number)
        return number

    @module.job(retry=Retry(1))
    async def pay(job: JobContext[int]) -> int:
        return await job.step("charge", charge, job.input)

    events = Events([module])
    async with in_memory(events):
        engine = events.session_maker.kw["bind"].sync_engine
        event.listen(engine, "connect", lambda driver, _: driver.execute("PRAGMA foreign_keys = ON"))
        async with events.session() as session:
            connection = await session.connection()
            await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
            await connection.execute(
                text("CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
            )
            await session.commit()
        broken, fine = await events.jobs.start(pay, 1), await events.jobs.start(pay, 2)
        await events.drain_once()
        assert [(await events.jobs.get(run)).state for run in (broken, fine)] == ["failed", "completed"]
        assert await events.jobs.retry(broken)
        await events.drain_once()
        assert done == [1, 2, 1]  # it was not taken for done


async def test_events_of_settings_on_memory_start_jobs_by_themselves(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    module, restock = noting(seen)
    events = Events([module], settings=EventsSettings(database_url="memory"))
    await events.start()
    try:
        started = await events.jobs.start(restock, "a")
        assert await within(events.jobs.result(started, timeout=10)) == "a"
    finally:
        await events.stop()
    assert "kept in the memory of this process" in caplog.text


async def test_a_run_that_is_started_in_a_thread_is_run_at_once(engine: Engine) -> None:
    seen: list[str] = []
    module, restock = noting(seen)
    events = Events([module], settings=EventsSettings(**QUICK | SLOW))
    async with in_memory(events, drains=True):

        def start() -> None:
            with engine.connect() as connection:
                asyncio.run(bind_jobs(events.publishing, connection).start(restock, "a"))
                connection.commit()

        await asyncio.to_thread(start)
        await until(lambda: seen == ["a"])


def test_what_was_at_work_on_an_event_loop_that_is_gone_is_run_again() -> None:
    module, attempts = Module("shop"), list[int]()

    @module.job()
    async def restock(job: JobContext[None]) -> None:
        attempts.append(job.attempt)
        if len(attempts) == 1:
            await asyncio.Event().wait()

    events = Events([module])

    async def left() -> Any:
        await events.start()
        started = await events.jobs.start(restock, None)
        await until(lambda: attempts)
        return started

    async def again(started: Any) -> None:
        await events.start()
        await within(events.jobs.result(started, timeout=10))
        await events.stop()

    with in_memory(events, drains=True, sessions=async_sessionmaker()):
        asyncio.run(again(asyncio.run(left())))
    assert len(attempts) == 2
