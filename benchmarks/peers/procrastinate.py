"""Procrastinate at its best documented settings.

Sources: its how-tos "Execute multiple jobs at the same time", "Delete finished jobs", "Batch defer multiple jobs" and
"Using an external database connection", and the discussion "Mind the size of your PostgreSQL pool". What was chosen:

- The psycopg connector with binary psycopg, under uvloop like all subjects. Its own command uses plain asyncio; the two
  measured alike.
- For a backlog ``concurrency=10``, and a pool of "as many connections as your concurrency (plus one)" since the jobs
  are short. Measured over 3 interleaved rounds of 1 500 jobs, medians: 470/s for 1 (the default), 570/s for 10, 540/s
  for 30 (the documented example). For latency the default of 1, which at 50/s gave a p99 of 3.1-3.7 ms (3.4-5.5 with
  10, 4.5-5.7 with 30) and the same p50.
- ``delete_jobs="always"``: finished jobs don't stay in the table that jobs are fetched from. On a backlog this short it
  makes no difference.
- Jobs for a backlog are deferred by ``batch_defer_async``; single ones on the connection of the caller's transaction.

It fetches and finishes every job by statements of its own, so a backlog of 2 000 jobs is enough to see its rate.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic_ns
from typing import Any

import procrastinate
import psycopg

from benchmarks.payload import order_json
from benchmarks.subjects import Committed, Publish, Purpose, Started

_DRAIN_CONCURRENCY = 10
_LOAD_BATCH = 500
_QUEUE = "orders"
_TASK = "order_placed"
_UNFINISHED = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"


class ProcrastinateSubject:
    """See the module for the settings; those given here are for a backlog."""

    name = "procrastinate"
    distribution = "procrastinate"

    def __init__(self, *, concurrency: int = _DRAIN_CONCURRENCY) -> None:
        self._concurrency = concurrency

    async def install(self, url: str) -> None:
        """``procrastinate schema --apply``."""
        async with _app(url).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def load(self, url: str, count: int) -> None:
        """Defer in batches."""
        async with _app(url).open_async() as app:
            task = app.configure_task(_TASK, queue=_QUEUE)
            for first in range(1, count + 1, _LOAD_BATCH):
                numbers = range(first, min(first + _LOAD_BATCH, count + 1))
                await task.batch_defer_async(*(_arguments(number) for number in numbers))

    @asynccontextmanager
    async def worker(self, url: str, started: Started, purpose: Purpose) -> AsyncIterator[None]:
        """``run_worker_async``, woken by LISTEN."""
        concurrency = self._concurrency if purpose == "drain" else 1
        app = _app(url, connections=concurrency + 1)

        @app.task(queue=_QUEUE, name=_TASK)
        async def handle(**arguments: Any) -> None:
            started(arguments)

        async with app.open_async():
            running = asyncio.create_task(
                app.run_worker_async(
                    queues=[_QUEUE],
                    concurrency=concurrency,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            )
            try:
                yield
            finally:
                # Cancelling is its documented graceful stop.
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running

    @asynccontextmanager
    async def publisher(self, url: str) -> AsyncIterator[Publish]:
        """Defer on the connection that holds the transaction."""
        async with _app(url).open_async() as app, await psycopg.AsyncConnection.connect(url) as connection:
            task = app.configure_task(_TASK, queue=_QUEUE, connection=connection)

            async def publish(number: int) -> Committed:
                await task.defer_async(**_arguments(number))
                sent = monotonic_ns()
                await connection.commit()
                return Committed(sent, monotonic_ns())

            yield publish

    def number_of(self, payload: Any) -> int:
        """The payload is the job's keyword arguments."""
        return int(payload["number"])

    async def unfinished(self, url: str) -> int:
        """Jobs that wait or run."""
        async with await psycopg.AsyncConnection.connect(url) as connection:
            cursor = await connection.execute(_UNFINISHED)
            row = await cursor.fetchone()
            assert row is not None
            return int(row[0])


def _app(url: str, *, connections: int = 2) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=connections)
    return procrastinate.App(connector=connector)


def _arguments(number: int) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(order_json(number))
    return arguments
