"""DBOS (open source, `dbos` of the package index) at its best documented settings.

Sources: its pages "Queues & Concurrency" and "Configuration", and its articles "Making Postgres Queues Scale" and
"Benchmarking Workflow Execution Scalability on Postgres". What was chosen, and why:

- A queue with ``worker_concurrency`` only: with a global limit a dequeue costs a count and a stricter isolation.
- ``polling_interval_sec``, by which alone it finds work: its default of a second says nothing about its speed.
- A workflow that does nothing and has no step: per run it records input, begin and outcome, nothing else.
- Async workflows, or plain ones in its threads: either can be chosen here.
- One transaction per start, by ``DBOSClient.enqueue_in_transaction`` on the caller's connection, its documented way to
  start with the caller's rows.
- Its logging is left at errors, and no OpenTelemetry.

What the settings measured stands in the report of ``jobs_drain``, which tries several and keeps the best. As it records
every run by statements of its own, a backlog of 3 000 is enough to see its rate.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic_ns
from typing import Any

import asyncpg
import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from benchmarks.payload import order_json
from benchmarks.subjects import Committed, Publish, Purpose, Started

_QUEUE = "orders"
_WORKFLOW = "order_placed"
_LOAD_BATCH = 1000
_UNFINISHED = "SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
_OPTIONS: EnqueueOptions = {"workflow_name": _WORKFLOW, "queue_name": _QUEUE}


class DbosSubject:
    """See the module for the settings; those given here are for a backlog. Of ``milliseconds`` is the poll."""

    name = "dbos"
    distribution = "dbos"

    def __init__(self, *, concurrency: int = 100, milliseconds: int = 10, threads: int = 0) -> None:
        self._concurrency, self._polling, self._threads = concurrency, milliseconds / 1000, bool(threads)

    async def install(self, url: str) -> None:
        """A launch makes the schema; the queue is registered as it will be, as a longer poll would wear off slowly."""
        settled = DbosSubject(concurrency=self._concurrency, milliseconds=round(self._polling * 1000), threads=1)
        async with settled.worker(url, lambda _: None, "drain"):
            pass

    async def load(self, url: str, count: int) -> None:
        """Enqueue a thousand in a transaction."""
        await _in_thread(lambda: self._load(url, count))

    def _load(self, url: str, count: int) -> None:
        engine, client = sqlalchemy.create_engine(_psycopg(url)), DBOSClient(system_database_url=_psycopg(url))
        with engine.connect() as connection:
            for first in range(1, count + 1, _LOAD_BATCH):
                for number in range(first, min(first + _LOAD_BATCH, count + 1)):
                    client.enqueue_in_transaction(connection, _OPTIONS, _arguments(number))
                connection.commit()
        client.destroy()
        engine.dispose()

    @asynccontextmanager
    async def worker(self, url: str, started: Started, purpose: Purpose) -> AsyncIterator[None]:
        """A launched application that listens to one queue."""
        config: DBOSConfig = {
            "name": "bench", "system_database_url": _psycopg(url), "log_level": "ERROR", "enable_otlp": False,
        }  # fmt: skip
        DBOS(config=config)
        _declare(started, in_threads=self._threads)
        # Launched where a loop runs, it runs async workflows there.
        await _in_thread(DBOS.launch) if self._threads else DBOS.launch()
        try:
            # The poll of an idle worker is its default, the one that its documentation is about.
            polling = 1.0 if purpose == "idle" else self._polling
            await _in_thread(partial(_register, self._concurrency, polling))
            yield
        finally:
            await _in_thread(lambda: DBOS.destroy(workflow_completion_timeout_sec=60, destroy_registry=True))

    @asynccontextmanager
    async def publisher(self, url: str) -> AsyncIterator[Publish]:
        """Enqueue on the connection that holds the transaction."""
        engine = create_async_engine(_psycopg(url))
        client = DBOSClient(system_database_url=_psycopg(url), lazy=True)
        async with engine.connect() as connection:

            async def publish(number: int) -> Committed:
                await connection.run_sync(
                    lambda sync: client.enqueue_in_transaction(sync, _OPTIONS, _arguments(number))
                )
                return await _commit(connection)

            yield publish
        client.destroy()
        await engine.dispose()

    def number_of(self, payload: Any) -> int:
        """The payload is the workflow's argument."""
        return int(payload["number"])

    async def unfinished(self, url: str) -> int:
        """Workflows that wait or run."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval(_UNFINISHED))
        finally:
            await connection.close()


def _register(concurrency: int, polling: float) -> None:
    DBOS.register_queue(
        _QUEUE, worker_concurrency=concurrency, polling_interval_sec=polling, on_conflict="always_update"
    )


def _declare(started: Started, *, in_threads: bool) -> None:
    one_at_a_time = threading.Lock()

    def begin(order: dict[str, Any]) -> None:
        with one_at_a_time:
            started(order)

    async def asynchronous(order: dict[str, Any]) -> None:
        begin(order)

    DBOS.workflow(name=_WORKFLOW)(begin if in_threads else asynchronous)


async def _in_thread(function: Callable[[], None]) -> None:
    """Not in the loop's executor: a launch puts its own in place of it, and shuts it down in the end."""
    with ThreadPoolExecutor(1) as executor:
        await asyncio.get_running_loop().run_in_executor(executor, function)


async def _commit(connection: AsyncConnection) -> Committed:
    sent = monotonic_ns()
    await connection.commit()
    return Committed(sent, monotonic_ns())


def _psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _arguments(number: int) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(order_json(number))
    return arguments
