"""Draining a backlog while five million old events are pruned row by row.

One database serves every round. It gets the old events in one statement, published forty days ago and read by
everybody; each measure adds a backlog, then VACUUM (ANALYZE) and CHECKPOINT. One process drains the backlog with a no-
op handler, as in ``drain``; in the one case it also prunes, round after round without the pause that a worker makes
between them. Told are the drain's rate in both cases, and the rows that were pruned meanwhile, by the second.

The old events are in the segment that is being written to: it cannot be dropped, so they go row by row. That is the
case that could disturb; dropping a segment is one statement.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from time import perf_counter

import asyncpg

from benchmarks.child import Parent
from benchmarks.payload import order_json
from benchmarks.points.drain import RATE, Meter
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, subject

_OLD = (5_000_000, 50_000)
_BACKLOG = (200_000, 10_000)
_DEADLINE = 600.0
_PRUNED = "pruned"
_PRUNING, _ALONE = "while pruning", "without"

_OLD_EVENTS = """
    INSERT INTO events.event (lane, partition, name, id, correlation_id, key, payload, occurred_at, published_at)
    SELECT 1, n % 32, 'bench.order.placed', gen_random_uuid(), gen_random_uuid(), '/order/' || n % 10000, $2::jsonb,
           clock_timestamp() - interval '40 days', clock_timestamp() - interval '40 days'
    FROM generate_series(1, $1::bigint) n
"""
_READ = """
    INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen)
    SELECT group_id, lane, partition, max(seq) + 1, pg_current_snapshot()
    FROM events.cursor_log GROUP BY group_id, lane, partition
"""

_LEFT = "SELECT count(*) FROM events.event WHERE published_at < clock_timestamp() - interval '30 days'"


async def drain_beside(parent: Parent, *, url: str, expected: int, prunes: bool) -> None:
    """Measured process: work the backlog off, and prune meanwhile if that is wanted."""
    from benchmarks import ours

    meter = Meter(expected)

    async def prune(application: ours.Application) -> None:
        while True:
            await application.events.runtime.pruner.prune()

    async with asyncio.timeout(_DEADLINE), ours.running(url, ours.quiet(meter)) as application:
        began = perf_counter()
        pruning = asyncio.create_task(prune(application)) if prunes else None
        await meter.finished.wait()
        took = perf_counter() - began
        if pruning is not None:
            pruning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pruning
    parent.tell(rate=meter.rate, seconds=took)


async def load_old(url: str, count: int) -> None:
    """Fill the log with what is past its age and read."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_OLD_EVENTS, count, order_json(1).decode(), timeout=_DEADLINE)
        await connection.execute(_READ)
    finally:
        await connection.close()


async def count_old(url: str) -> int:
    """How many old events are left."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(_LEFT, timeout=_DEADLINE))
    finally:
        await connection.close()


async def _measure(stage: Stage, url: str, *, prunes: bool) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    await subject(OURS).load(url, expected)
    await settle(url)
    old = await count_old(url)
    async with child(drain_beside, url=url, expected=expected, prunes=prunes) as worker:
        figures = await worker.message()
    left = await count_old(url)
    if unfinished := await subject(OURS).unfinished(url):
        raise RuntimeError(f"{unfinished} of {expected} were left unfinished after the worker had stopped.")
    if prunes and not left:
        raise RuntimeError(
            "no old event was left before the backlog was worked off: nothing ran beside the rest of it."
        )
    return {RATE: figures[RATE], _PRUNED: (old - left) / figures["seconds"]}


async def run(stage: Stage) -> Finding:
    """With and without pruning, interleaved."""
    async with stage.installed(OURS) as url:
        await load_old(url, stage.scaled(*_OLD))
        pruning, alone = (partial(_measure, stage, url, prunes=prunes) for prunes in (True, False))
        rounds = await interleave(stage.rounds, {_PRUNING: pruning, _ALONE: alone}, title="retention")
    return Finding(
        title="Retention: draining while old events are pruned",
        how=f"A backlog of {stage.scaled(*_BACKLOG)} worked off by one process, above {stage.scaled(*_OLD):,} events "
        "that are past their age, with and without pruning them all the while.",
        rows=[
            *(Row(label, "handled", "events/s", rounds.spread(label, RATE)) for label in (_PRUNING, _ALONE)),
            Row(_PRUNING, "pruned", "events/s", rounds.spread(_PRUNING, _PRUNED)),
        ],
        ratios=[Ratio(f"{_PRUNING} / {_ALONE}", rounds.ratio((_PRUNING, RATE), (_ALONE, RATE)), ("≥", 0.9))],
    )
