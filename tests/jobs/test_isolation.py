"""Isolation levels: bookkeeping has its own whatever the defaults are, and no job works in a snapshot it cannot end."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from fastapi_events import HandlerSession, JobContext, Module, Retry
from fastapi_events.errors import JobFailed, SettingsError
from fastapi_events.store.database import Database, sqlalchemy_url
from tests.delivery.stage import Placed, Stage, effect, publish, within

LEVELS = ("REPEATABLE READ", "SERIALIZABLE")
SHOWN = text("SHOW transaction_isolation")


class Shop:
    """A job with a session, one whose step takes one, and a handler; they note their levels."""

    def __init__(self, *, jobs: bool = True) -> None:
        self.module, self.seen = Module("shop"), list[str]()

        async def pay(session: HandlerSession) -> str:
            return await self.work(session, "step")

        @self.module.job(retry=Retry(1))
        async def stepping(job: JobContext[None]) -> str:
            return await job.step("pay", pay)

        @self.module.on(Placed, retry=Retry(1))
        async def handle(event: Placed, session: HandlerSession) -> None:
            await self.work(session, "handler")

        self.stepping: Any = stepping
        if jobs:

            @self.module.job(retry=Retry(1))
            async def paying(job: JobContext[None], session: HandlerSession) -> str:
                return await self.work(session, "job")

            self.paying: Any = paying

    async def work(self, session: HandlerSession, name: str) -> str:
        level = str(await session.scalar(SHOWN))
        self.seen.append(level)
        await effect(session, name, 1)
        return level


@contextlib.asynccontextmanager
async def engine_of(stage: Stage, driver: str = "asyncpg", **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(sqlalchemy_url(stage.url, driver), **options)
    try:
        yield engine
    finally:
        for events in stage.instances:
            await events.stop()
        await engine.dispose()


@contextlib.asynccontextmanager
async def default_level(stage: Stage, level: str) -> AsyncIterator[None]:
    """New connections to the database begin their transactions at a level."""
    name = await stage.value("SELECT current_database()")
    await stage.rows(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level.lower()}'")
    try:
        yield
    finally:
        for events in stage.instances:
            await events.stop()
        await stage.rows(f"ALTER DATABASE {name} RESET default_transaction_isolation")


@pytest.mark.parametrize("pooled", [False, True])
async def test_bookkeeping_is_read_committed_whatever_the_default_is(stage: Stage, pooled: bool) -> None:
    async with default_level(stage, "serializable"):
        database = Database(stage.url, pgbouncer=pooled)
        await database.open()
        try:
            assert [row[0] for row in await database.fetch("SHOW transaction_isolation")] == ["read committed"]
            async with database.acquire() as connection, database.steered(connection):
                assert await connection.fetchval("SHOW transaction_isolation") == "read committed"
        finally:
            await database.close()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("where", ["engine", "options", "sessions"])
async def test_a_job_with_a_session_in_a_snapshot_is_refused_at_the_start(stage: Stage, level: str, where: str) -> None:
    async with engine_of(stage, **({"isolation_level": level} if where == "engine" else {})) as engine:
        bind = engine.execution_options(isolation_level=level) if where == "options" else engine
        options: Any = {"execution_options": {"isolation_level": level}} if where == "sessions" else {}
        with pytest.raises(SettingsError, match=rf"job 'shop.paying' takes a HandlerSession, and .* at {level}: "):
            await stage.idle(Shop().module, sessions=async_sessionmaker(bind, **options))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_step_with_a_session_in_a_snapshot_is_refused_and_handlers_are_not(stage: Stage, driver: str) -> None:
    async with engine_of(stage, driver, isolation_level="SERIALIZABLE") as engine:
        shop = Shop(jobs=False)
        events = await stage.idle(shop.module, sessions=async_sessionmaker(engine))
        started = await events.jobs.start(shop.stepping, None)
        await publish(events, [Placed(order="a")])
        await within(events.drain_once())
        with pytest.raises(JobFailed, match="would be at SERIALIZABLE"):
            await events.jobs.result(started, timeout=10)
        assert shop.seen == ["serializable"]
        assert await stage.value("SELECT count(*) FROM effect") == 1


async def test_a_default_of_the_database_is_refused_as_well(stage: Stage) -> None:
    async with default_level(stage, "repeatable read"):
        shop = Shop()
        events = await stage.idle(shop.module)
        runs = [await events.jobs.start(job, None) for job in (shop.paying, shop.stepping)]
        await within(events.drain_once())
        for run in runs:
            with pytest.raises(JobFailed, match="would be at REPEATABLE READ"):
                await events.jobs.result(run, timeout=10)
        assert shop.seen == []


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_sessions_that_say_read_committed_are_that(stage: Stage, driver: str) -> None:
    """Also where the engine, and the default of the database, say otherwise."""
    async with default_level(stage, "serializable"), engine_of(stage, driver, isolation_level="SERIALIZABLE") as engine:
        shop, plain = Shop(), engine.execution_options(isolation_level="READ COMMITTED")
        events = await stage.idle(shop.module, sessions=async_sessionmaker(plain))
        runs = [await events.jobs.start(job, None) for job in (shop.paying, shop.stepping)]
        await publish(events, [Placed(order="a")])
        await within(events.drain_once())
        assert [await events.jobs.result(run, timeout=10) for run in runs] == ["read committed"] * 2
        assert shop.seen == ["read committed"] * 3
