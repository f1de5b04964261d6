"""What the programs about jobs have in common: one process's ``Events``, and a worker that lives until it is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import Events, EventsSettings, Job, Module, Retry, exponential
from fastapi_events.store.database import sqlalchemy_url
from tests.chaos.crowd import Crowd
from tests.chaos.options import Options, Twin
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Main, Nursery
from tests.chaos.tables import install
from tests.chaos.twins import plant
from tests.chaos.verdict import Verdict

OFTEN = Retry(max_attempts=8, backoff=exponential(0.05, cap=0.5))
PATIENCE = 60.0
"""Seconds in which something must have got on: how fast the whole is, is for the machine to say."""

UNFINISHED = "SELECT count(*) FROM events.run_queue"
FAILED = "SELECT count(*) FROM events.run_end WHERE state <> 'completed'"
STALE = "SELECT sum(stale_settles) FROM events.worker"
ATTEMPTS = "SELECT count(*) FROM events.run_attempt"
GOT_ON = f"SELECT (SELECT count(*) FROM events.run_end) + (SELECT count(*) FROM events.run_step) + ({ATTEMPTS})"


class JobApplication:
    """One process's engine and ``Events``, with the jobs that ``make`` declares."""

    def __init__(
        self,
        url: str,
        options: Options,
        label: str,
        make: Callable[[JobApplication], Module],
        *,
        connections: int = 8,
        **more: Any,
    ) -> None:
        self.label = label
        self.beside: list[asyncio.Task[None]] = []
        """What the process does beside its jobs."""
        says_who = {"server_settings": {"chaos.process": label}}
        engine = create_async_engine(
            sqlalchemy_url(url), pool_size=connections, max_overflow=0, pool_timeout=10, connect_args=says_who
        )
        self.sessions = async_sessionmaker(engine, expire_on_commit=False)
        given: dict[str, Any] = {
            "lease": options.lease, "heartbeat": options.heartbeat, "poll_interval": options.poll_interval,
            "concurrency": {"batch": 8}, "max_crashes": 1000, "handler_connections": 4, "shutdown_grace": 2,
            "breaker_threshold": 1000, **more,
        }  # fmt: skip
        settings = EventsSettings(database_url=f"{url}&chaos.process={label}", **given)
        self.module = make(self)
        self.events = Events([self.module], sessions=self.sessions, settings=settings)

    def job(self, name: str) -> Job[Any, Any]:
        """One of its jobs."""
        return next(job for job in self.module.declared_jobs if job.name == name)

    async def write(self, statement: str, **values: Any) -> None:
        """One statement in a transaction of its own."""
        async with self.sessions() as session:
            await session.execute(text(statement), values)
            await session.commit()


def worker(make: Callable[[], JobApplication], twin: Twin = "none") -> Main:
    """Works until it is killed, with a defect if one is planted."""

    async def main() -> None:
        plant(twin)
        app = make()
        await app.events.start(drains=True)
        await asyncio.Event().wait()

    return main


class JobProgram:
    """What a run of such a program begins and ends with."""

    def __init__(self, url: str, options: Options, logs: Path, twin: Twin = "none") -> None:
        self.url, self.options, self.twin = url, options, twin
        self.nursery, self.oracle = Nursery(logs), Oracle(url)

    def perform(self) -> Verdict:
        """Prepare the database, do what is to be done, and judge."""
        install(self.url)
        try:
            return self.act()
        finally:
            self.oracle.close()
            self.nursery.clear()

    def act(self) -> Verdict:
        """What the program is about."""
        raise NotImplementedError

    def size(self, full: int, quick: int) -> int:
        """How much is to be done: little for a twin, or if it is to be quick."""
        return quick if self.options.quick or self.twin != "none" else full

    def crowd(self, name: str, count: int, make: Callable[[str, int], JobApplication], **fire: float) -> Crowd:
        """Workers by the name, with the planted defect; ``make`` is given a label and the worker's place."""

        def main(place: int, label: str) -> Main:
            return worker(lambda: make(label, place), self.twin)

        return Crowd(self.nursery, name, count, main, seed=self.options.seed, **fire)

    def rest(self, crowd: Crowd, done: Callable[[], bool]) -> float:
        """Tend until something is so, as long as runs get on; returns the most seconds in which none has."""
        seen, since, longest = -1, time.monotonic(), 0.0

        def is_over() -> bool:
            nonlocal seen, since, longest
            now, over, got_on = time.monotonic(), done(), self.oracle.number(GOT_ON)
            longest = max(longest, now - since)
            if got_on != seen:
                seen, since = got_on, now
            return over or now - since > PATIENCE

        crowd.until(is_over)
        return longest

    def run(self, job: Callable[[], Any]) -> Any:
        """A coroutine function in this process, which must have no loop running when it forks."""
        return asyncio.run(job())

    def tables(self, statements: str) -> None:
        """Make tables of the program's own."""

        async def make() -> None:
            connection = await asyncpg.connect(self.url)
            await connection.execute(statements)
            await connection.close()

        asyncio.run(make())
