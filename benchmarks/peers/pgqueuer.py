"""PgQueuer at its best documented settings.

Sources: its guide "Performance Tuning", its page "Benchmarks" and its ``tools/benchmark.py``. What was chosen, and why:

- asyncpg rather than psycopg ("roughly 1.7x the throughput"), under uvloop (its command and its benchmark run so).
- ``pgq autovac`` after installation (first line of the guide's checklist).
- Durability ``balanced``: the queue itself stays logged, the log of finished jobs is unlogged ("~2x"). ``volatile``
  is left out, as it loses the jobs in a crash. Measured: 3 interleaved rounds of 20 000 jobs gave medians of
  12.7k/s for ``durable`` and 13.5k/s for ``balanced``.
- ``batch_size``: "increase when jobs are short-lived". 10 gave 3.4k/s, 100 7.1k/s, 500 11-12k/s, 2 000 11-14k/s.
- A pool driver of 5 to 20 connections ("for high-throughput deployments"); one connection gave 10-12k/s.
- For latency the guide's tip is the other way: a dedicated connection for the worker. Measured at 50/s, that gave a
  p50 of 2.3-3.0 ms (2.7-3.4 with the pool), and ``batch_size=1`` a p99 of 3.2-3.9 ms (3.3-15.8 with the default, 10).
- No ``concurrency_limit`` and no ``max_concurrent_tasks``: unlimited is its default, and its cheapest dequeue query.

Its handler gets bytes and is measured without decoding them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.payload import order_json
from benchmarks.subjects import Committed, Publish, Purpose, Started

os.environ["PGQUEUER_DURABILITY"] = "balanced"

_ENTRYPOINT = "order_placed"
_DRAIN_BATCH = 2000
_PROMPT_BATCH = 1
_LOAD_BATCH = 1000
_POOL = (5, 20)


class PgQueuerSubject:
    """See the module for the settings; those given here are for a backlog."""

    name = "pgqueuer"
    distribution = "pgqueuer"

    def __init__(self, *, batch_size: int = _DRAIN_BATCH) -> None:
        self._batch_size = batch_size

    async def install(self, url: str) -> None:
        """``pgq install`` and ``pgq autovac``."""
        async with _connection(url) as connection:
            queries = Queries(AsyncpgDriver(connection))
            await queries.install()
            await queries.optimize_autovacuum()

    async def load(self, url: str, count: int) -> None:
        """Enqueue in lists of a thousand."""
        async with _connection(url) as connection:
            queries = Queries(AsyncpgDriver(connection))
            for first in range(1, count + 1, _LOAD_BATCH):
                numbers = range(first, min(first + _LOAD_BATCH, count + 1))
                payloads: list[bytes | None] = [order_json(number) for number in numbers]
                await queries.enqueue([_ENTRYPOINT] * len(payloads), payloads, [0] * len(payloads))

    @asynccontextmanager
    async def worker(self, url: str, started: Started, purpose: Purpose) -> AsyncIterator[None]:
        """``pgq.run`` in its continuous mode."""
        async with _driver(url, purpose) as driver:
            pgq = PgQueuer(driver)

            @pgq.entrypoint(_ENTRYPOINT)
            async def handle(job: Job) -> None:
                started(job.payload)

            running = asyncio.create_task(
                pgq.run(batch_size=self._batch_size if purpose == "drain" else _PROMPT_BATCH),
            )
            try:
                yield
            finally:
                pgq.shutdown.set()
                pgq.qm.shutdown.set()
                await running

    @asynccontextmanager
    async def bulk(self, url: str) -> AsyncIterator[Callable[[list[bytes | None]], Awaitable[None]]]:
        """A function that enqueues all payloads in one call and transaction."""
        async with _connection(url) as connection:
            queries = Queries(AsyncpgDriver(connection))

            async def enqueue(payloads: list[bytes | None]) -> None:
                async with connection.transaction():
                    await queries.enqueue([_ENTRYPOINT] * len(payloads), payloads, [0] * len(payloads))

            yield enqueue

    @asynccontextmanager
    async def publisher(self, url: str) -> AsyncIterator[Publish]:
        """Enqueue on the connection that holds the transaction, as its README shows."""
        async with _connection(url) as connection:
            queries = Queries(AsyncpgDriver(connection))

            async def publish(number: int) -> Committed:
                transaction = connection.transaction()
                await transaction.start()
                await queries.enqueue(_ENTRYPOINT, order_json(number))
                sent = monotonic_ns()
                await transaction.commit()
                return Committed(sent, monotonic_ns())

            yield publish

    def number_of(self, payload: Any) -> int:
        """The payload is the bytes that were enqueued."""
        return int(json.loads(payload)["number"])

    async def unfinished(self, url: str) -> int:
        """Rows left in the queue table: finished jobs are deleted."""
        async with _connection(url) as connection:
            return int(await connection.fetchval("SELECT count(*) FROM pgqueuer"))


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _driver(url: str, purpose: Purpose) -> AsyncIterator[AsyncpgDriver | AsyncpgPoolDriver]:
    if purpose != "drain":
        async with _connection(url) as connection:
            yield AsyncpgDriver(connection)
        return
    smallest, largest = _POOL
    pool = await asyncpg.create_pool(url, min_size=smallest, max_size=largest)
    try:
        yield AsyncpgPoolDriver(pool)
    finally:
        # The driver keeps its listening connection to itself, so close() would wait for it.
        pool.terminate()
