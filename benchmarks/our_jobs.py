"""Our jobs, through the public API alone: runs of a job that does nothing, rows kept in full."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.payload import Order, order_fields
from benchmarks.subjects import Committed, Publish, Purpose, Started
from fastapi_events import Events, EventsSettings, Job, JobContext, Module
from fastapi_events.engine.collector import calm_collector

_LOAD_BATCH = 1000
CONCURRENCY = 100
"""Runs at once: more than the pool's default of five, as jobs that only wait for others would be given."""


def working(started: Started) -> tuple[Module, Job[Order, None]]:
    """A module whose job does nothing but call ``started``."""
    module = Module("bench")

    @module.job("bench.handle")
    async def handle(job: JobContext[Order]) -> None:
        started(job.input)

    return module, handle


@asynccontextmanager
async def running(
    url: str, module: Module, *, drains: bool = True
) -> AsyncIterator[tuple[Events, async_sessionmaker[AsyncSession]]]:
    """A started application."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=20)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    settings = EventsSettings(database_url=url, auto_upgrade=True, concurrency={"batch": CONCURRENCY})
    events = Events(modules=[module], sessions=sessions, settings=settings)
    await events.start(drains=drains)
    try:
        yield events, sessions
    finally:
        await events.stop()
        await engine.dispose()


class OurJobs:
    """Default settings but for the pool's concurrency."""

    name = "jobs"
    distribution = "fastapi-events-pg"

    async def install(self, url: str) -> None:
        """Make our schema, and register the job."""
        module, _ = working(_ignore)
        async with running(url, module, drains=False):
            pass

    async def load(self, url: str, count: int) -> None:
        """Start a thousand runs per call and transaction."""
        module, job = working(_ignore)
        async with running(url, module, drains=False) as (events, sessions):
            for first in range(1, count + 1, _LOAD_BATCH):
                async with sessions() as session:
                    orders = [order(number) for number in range(first, min(first + _LOAD_BATCH, count + 1))]
                    await events.job_client(session).start_many(job, orders)
                    await session.commit()

    @asynccontextmanager
    async def worker(self, url: str, started: Started, purpose: Purpose) -> AsyncIterator[None]:
        """The same settings for every purpose, and the collector as the worker command leaves it."""
        module, _ = working(started)
        async with running(url, module):
            calm_collector()
            yield

    @asynccontextmanager
    async def publisher(self, url: str) -> AsyncIterator[Publish]:
        """A session per transaction, as in a request."""
        module, job = working(_ignore)
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


def _ignore(_: object) -> None:
    """A job that nothing is expected of."""
