"""Draining with a transactional handler that does one INSERT, beside a hand-written asyncpg loop.

Ours is the shipped path: ``HandlerSession``, the processing mark and the effect in one transaction per event. The
hand-written loop sends the same statements: BEGIN, INSERT of the mark ON CONFLICT DO NOTHING RETURNING, INSERT of the
effect, COMMIT, on ten connections at once (our default for handlers), from rows it fetches by the hundred and
validates; it keeps no order, no lease and no cursor. Rates as for the no-op drain; afterwards there must be exactly
one effect per event.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import asyncpg

from benchmarks.child import Parent
from benchmarks.payload import Order
from benchmarks.points.drain import RATE, Meter, load_raw
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, subject

_BACKLOG = (10_000, 2_000)
_CONNECTIONS = 10
_FETCHED = 500
_DEADLINE = 300.0
_HAND_WRITTEN = "hand-written loop"
_TABLES = """
    CREATE TABLE bench_mark (
        handler integer, position bigint, at timestamptz DEFAULT now(), PRIMARY KEY (handler, position)
    );
    CREATE TABLE bench_effect (id serial PRIMARY KEY, order_id uuid NOT NULL, number integer NOT NULL);
"""
_MARK = "INSERT INTO bench_mark (handler, position) VALUES (1, $1) ON CONFLICT DO NOTHING RETURNING position"
_EFFECT = "INSERT INTO bench_effect (order_id, number) VALUES ($1, $2)"


async def drain_with_session(parent: Parent, *, url: str, expected: int) -> None:
    """Measured process: ours."""
    from benchmarks import ours

    meter = Meter(expected)
    async with asyncio.timeout(_DEADLINE), ours.running(url, ours.effectful(meter)):
        await meter.finished.wait()
    parent.tell(rate=meter.rate)


async def drain_by_hand(parent: Parent, *, url: str, expected: int) -> None:
    """Measured process: the hand-written loop."""
    meter = Meter(expected)
    waiting: asyncio.Queue[tuple[int, Order] | None] = asyncio.Queue(maxsize=_FETCHED)
    async with (
        asyncpg.create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(_CONNECTIONS):
            tasks.create_task(_handle(pool, waiting, meter))
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


async def _handle(pool: asyncpg.Pool[Any], waiting: asyncio.Queue[tuple[int, Order] | None], meter: Meter) -> None:
    async with pool.acquire() as connection:
        while (next_order := await waiting.get()) is not None:
            position, order = next_order
            meter(order)
            async with connection.transaction():
                if await connection.fetchval(_MARK, position) is not None:
                    await connection.execute(_EFFECT, order.order_id, order.number)


async def _ours_once(stage: Stage) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    async with stage.installed(OURS) as url:
        await subject(OURS).load(url, expected)
        await settle(url)
        async with child(drain_with_session, url=url, expected=expected) as worker:
            figures = await worker.message()
        await _check_effects(url, expected)
    return figures


async def _by_hand_once(stage: Stage) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    async with stage.server.fresh_database("by_hand") as url:
        await load_raw(url, expected)
        connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
        await connection.execute(_TABLES)
        await connection.close()
        await settle(url)
        async with child(drain_by_hand, url=url, expected=expected) as loop:
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
    """Ours and the loop, interleaved."""
    measures = {_HAND_WRITTEN: partial(_by_hand_once, stage)}
    if OURS in stage.subjects:
        measures = {OURS: partial(_ours_once, stage), **measures}
    rounds = await interleave(stage.rounds, measures, title="transactional")
    ratios = []
    if OURS in measures:
        ratio = rounds.ratio((OURS, RATE), (_HAND_WRITTEN, RATE))
        ratios.append(Ratio(f"{OURS} / {_HAND_WRITTEN}", ratio, ("≥", 0.6)))
    return Finding(
        title="Drain: transactional handler, one INSERT",
        how=f"A backlog of {stage.scaled(*_BACKLOG)} events; mark and effect of each in a transaction of its own, ten "
        "at a time. The hand-written loop sends the same statements by plain asyncpg, without order, lease or cursor.",
        rows=[Row(label, "handled", "events/s", rounds.spread(label, RATE)) for label in measures],
        ratios=ratios,
    )
