"""Our jobs, through the public API alone, at default settings: runs that do nothing, rows kept in full."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.job_features import FEATURES, PLAIN
from benchmarks.ours import Base
from benchmarks.payload import Order, order_fields
from benchmarks.subjects import Committed, Publish, Purpose, Started
from fastapi_events import Events, EventsSettings, Job, Module
from fastapi_events.engine.collector import calm_collector

BATCH = 1000
"""Runs that one call starts."""

Start = Callable[[Sequence[Order]], Awaitable[None]]


@asynccontextmanager
async def running(
    url: str, module: Module, *, drains: bool = True, **settings: Any
) -> AsyncIterator[tuple[Events, async_sessionmaker[AsyncSession]]]:
    """A started application."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=20)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    given = EventsSettings(database_url=url, auto_upgrade=True, **settings)
    events = Events(modules=[module], sessions=sessions, settings=given)
    await events.start(drains=drains)
    try:
        yield events, sessions
    finally:
        await events.stop()
        await engine.dispose()


class OurJobs:
    """Default settings; ``feature`` is one of ``benchmarks.job_features``."""

    name = "jobs"
    distribution = "fastapi-events-pg"

    def __init__(self, *, feature: str = PLAIN) -> None:
        self._feature = FEATURES[feature]

    def declared(self, started: Started) -> tuple[Module, Job[Order, Any]]:
        """A module, and its job, which calls ``started``."""
        module = Module("bench")
        return module, self._feature.declare(module, started)

    async def install(self, url: str) -> None:
        """Make our schema and the application's tables, and register the job."""
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()
        module, _ = self.declared(_ignore)
        async with running(url, module, drains=False):
            pass

    @asynccontextmanager
    async def starter(self, url: str, *, connection: bool = False) -> AsyncIterator[Start]:
        """A function that starts a run for each order, in one call and transaction; by a session, or by asyncpg."""
        module, job = self.declared(_ignore)
        options = self._feature.options
        calls = 0
        async with running(url, module, drains=False) as (events, sessions):
            raw: asyncpg.Connection[Any] = await asyncpg.connect(url)

            async def by_session(orders: Sequence[Order]) -> None:
                nonlocal calls
                calls += 1
                async with sessions() as session:
                    await events.job_client(session).start_many(job, orders, **options(calls))
                    await session.commit()

            async def by_connection(orders: Sequence[Order]) -> None:
                nonlocal calls
                calls += 1
                async with raw.transaction():
                    await events.job_client(raw).start_many(job, orders, **options(calls))

            yield by_connection if connection else by_session
            await raw.close()

    async def load(self, url: str, count: int) -> None:
        """Start as many runs per call and transaction as the feature wants, a thousand as a rule."""
        async with self.starter(url) as start:
            for orders in batches(count, self._feature.per_call):
                await start(orders)

    @asynccontextmanager
    async def worker(self, url: str, started: Started, purpose: Purpose) -> AsyncIterator[None]:
        """The same settings for every purpose, and the collector as the worker command leaves it."""
        module, _ = self.declared(started)
        async with running(url, module, **self._feature.settings):
            calm_collector()
            yield

    @asynccontextmanager
    async def publisher(self, url: str) -> AsyncIterator[Publish]:
        """A session per transaction, as in a request."""
        module, job = self.declared(_ignore)
        async with running(url, module, drains=False) as (events, sessions):

            async def publish(number: int) -> Committed:
                async with sessions() as session:
                    await events.job_client(session).start(job, order(number))
                    sent = monotonic_ns()
                    await session.commit()
                    return Committed(sent, monotonic_ns())

            yield publish

    def number_of(self, payload: Any) -> int:
        """The payload is the validated input."""
        return int(payload.number)

    async def unfinished(self, url: str) -> int:
        """Runs that have not ended with success."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
        count: int = await connection.fetchval(
            "SELECT (SELECT count(*) FROM events.run) - (SELECT count(*) FROM events.run_end WHERE state = 'completed')"
        )
        await connection.close()
        return count


def order(number: int) -> Order:
    """Order ``number`` as an input."""
    return Order(**order_fields(number))


def batches(count: int, size: int) -> list[list[Order]]:
    """The orders 1 to ``count``, so many at a time."""
    numbers = range(1, count + 1)
    return [[order(number) for number in numbers[first : first + size]] for first in range(0, count, size)]


def _ignore(_: object) -> None:
    """A job that nothing is expected of."""
