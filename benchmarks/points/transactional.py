"""Draining with a transactional handler that does one INSERT, beside hand-written loops.

Ours is the shipped path, with the processing mark and the effect in one transaction per event: by
``HandlerConnection``, which is asyncpg's own, and by ``HandlerSession``, which is SQLAlchemy's. The hand-written loops
send the same statements, BEGIN, INSERT of the mark ON CONFLICT DO NOTHING RETURNING, INSERT of the effect, COMMIT, on
ten connections at once (our default for handlers), from rows they fetch by the hundred and validate: one by plain
asyncpg, one by a session of SQLAlchemy's per event. They keep no order, no lease and no cursor. Rates as for the no-op
drain; afterwards there must be exactly one effect per event. Every measured process has the garbage collector as our
worker command leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import asyncpg
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.child import Parent
from benchmarks.payload import Order
from benchmarks.points.drain import RATE, Meter, load_raw
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, subject
from fastapi_events.engine.collector import calm_collector

_BACKLOG = (10_000, 2_000)
_CONNECTIONS = 10
_FETCHED = 500
_DEADLINE = 300.0
_TABLES = """
    CREATE TABLE bench_mark (
        handler integer, position bigint, at timestamptz DEFAULT now(), PRIMARY KEY (handler, position)
    );
    CREATE TABLE bench_effect (id serial PRIMARY KEY, order_id uuid NOT NULL, number integer NOT NULL);
"""
_MARK = "INSERT INTO bench_mark (handler, position) VALUES (1, {}) ON CONFLICT DO NOTHING RETURNING position"

Means = Literal["connection", "session"]
Handle = Callable[[int, Order], Awaitable[None]]


async def drain(parent: Parent, *, url: str, expected: int, means: Means) -> None:
    """Measured process: ours."""
    from benchmarks import ours

    meter = Meter(expected)
    module = ours.by_connection(meter) if means == "connection" else ours.by_session(meter)
    async with asyncio.timeout(_DEADLINE), ours.running(url, module):
        calm_collector()
        await meter.finished.wait()
    parent.tell(rate=meter.rate)


async def drain_by_hand(parent: Parent, *, url: str, expected: int, means: Means) -> None:
    """Measured process: a hand-written loop."""
    meter = Meter(expected)
    waiting: asyncio.Queue[tuple[int, Order] | None] = asyncio.Queue(maxsize=_FETCHED)
    lines = _connections(url) if means == "connection" else _sessions(url)
    async with lines as make, asyncio.TaskGroup() as tasks:
        calm_collector()
        for _ in range(_CONNECTIONS):
            tasks.create_task(_handle(await make(), waiting, meter))
        await _fetch(url, waiting)
    parent.tell(rate=meter.rate)


async def _fetch(url: str, waiting: asyncio.Queue[tuple[int, Order] | None]) -> None:
    reader: asyncpg.Connection[Any] = await asyncpg.connect(url)
    position = 0
    statement = "SELECT position, payload FROM raw WHERE position > $1 ORDER BY position LIMIT $2"
    while rows := await reader.fetch(statement, position, _FETCHED):
        for row in rows:
            await waiting.put((row["position"], Order.model_validate_json(row["payload"])))
        position = rows[-1]["position"]
    for _ in range(_CONNECTIONS):
        await waiting.put(None)
    await reader.close()


async def _handle(handle: Handle, waiting: asyncio.Queue[tuple[int, Order] | None], meter: Meter) -> None:
    while (next_order := await waiting.get()) is not None:
        position, order = next_order
        meter(order)
        await handle(position, order)


@asynccontextmanager
async def _connections(url: str) -> AsyncIterator[Callable[[], Awaitable[Handle]]]:
    from benchmarks.ours import EFFECT

    mark = _MARK.format("$1")
    async with asyncpg.create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool:
        kept: list[Any] = []

        async def make() -> Handle:
            connection = await pool.acquire()
            kept.append(connection)

            async def handle(position: int, order: Order) -> None:
                async with connection.transaction():
                    if await connection.fetchval(mark, position) is not None:
                        await connection.execute(EFFECT, order.order_id, order.number)

            return handle

        yield make
        for connection in kept:
            await pool.release(connection)


@asynccontextmanager
async def _sessions(url: str) -> AsyncIterator[Callable[[], Awaitable[Handle]]]:
    from benchmarks.ours import Effect

    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=_CONNECTIONS)
    sessions, mark = async_sessionmaker(engine, expire_on_commit=False), text(_MARK.format(":position"))

    async def handle(position: int, order: Order) -> None:
        async with sessions() as session, session.begin():
            if (await session.execute(mark, {"position": position})).first() is not None:
                await session.execute(insert(Effect).values(order_id=order.order_id, number=order.number))

    async def make() -> Handle:
        return handle

    yield make
    await engine.dispose()


async def _ours_once(stage: Stage, means: Means) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    async with stage.installed(OURS) as url:
        await subject(OURS).load(url, expected)
        await settle(url)
        async with child(drain, url=url, expected=expected, means=means) as worker:
            figures = await worker.message()
        await _check_effects(url, expected)
    return figures


async def _by_hand_once(stage: Stage, means: Means) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    async with stage.server.fresh_database("by_hand") as url:
        await load_raw(url, expected)
        connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
        await connection.execute(_TABLES)
        await connection.close()
        await settle(url)
        async with child(drain_by_hand, url=url, expected=expected, means=means) as loop:
            figures = await loop.message()
        await _check_effects(url, expected)
    return figures


async def _check_effects(url: str, expected: int) -> None:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    counted = await connection.fetchrow("SELECT count(*) AS rows, count(DISTINCT number) AS orders FROM bench_effect")
    await connection.close()
    assert counted is not None
    if tuple(counted) != (expected, expected):
        raise RuntimeError(f"{expected} events left {counted['rows']} effects of {counted['orders']} orders.")


async def run(stage: Stage) -> Finding:
    """Ours and the loops, interleaved."""
    means: tuple[Means, ...] = ("connection", "session")
    ours = {f"{OURS}, by {how}": partial(_ours_once, stage, how) for how in means} if OURS in stage.subjects else {}
    measures = {**ours, **{f"hand-written, by {how}": partial(_by_hand_once, stage, how) for how in means}}
    rounds = await interleave(stage.rounds, measures, title="transactional")
    compared = (("connection", "connection", 0.6), ("session", "session", None), ("session", "connection", 0.6))
    ratios = [
        Ratio(
            f"{OURS}, by {over} / hand-written, by {under}",
            rounds.ratio((f"{OURS}, by {over}", RATE), (f"hand-written, by {under}", RATE)),
            ("≥", bound) if bound else None,
        )
        for over, under, bound in compared
        if ours
    ]
    return Finding(
        title="Drain: transactional handler, one INSERT",
        how=f"A backlog of {stage.scaled(*_BACKLOG)} events; mark and effect of each in a transaction of its own, ten "
        "at a time: by asyncpg's connection, and by a session of SQLAlchemy's. The hand-written loops send the same "
        "statements by the same means, without order, lease or cursor.",
        rows=[Row(label, "handled", "events/s", rounds.spread(label, RATE)) for label in measures],
        ratios=ratios,
    )
