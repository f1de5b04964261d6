"""Draining and publishing above ten million events of history.

One database gets ten million events that everybody has read, published ten days ago, with the records of success that
their handling left, in statements of a million, then VACUUM (ANALYZE) and CHECKPOINT; it serves every round. Beside it
each round gets a database without history. Both are given a backlog; one process works it off with a no-op handler, as
in ``drain``, and another then commits transactions with one row and one event each, one after the other. Told are both
rates, with history over without.

Nothing of the history is past its age: this is the log as it stands for weeks, not as it is pruned (``retention``).
"""

from __future__ import annotations

import sys
from functools import partial
from time import perf_counter

import asyncpg

from benchmarks.child import Parent
from benchmarks.payload import order_json
from benchmarks.points.drain import RATE, drain
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, subject

_HISTORY = (10_000_000, 100_000)
_PART = 1_000_000
_BACKLOG = (50_000, 5_000)
_COMMITS = (2_000, 200)
_WARM_UP = 100
_FILL_SECONDS = 1800.0
_COMMITTED = "committed"
_WITH, _WITHOUT = "with history", "without"

_EVENTS = """
    INSERT INTO events.event (lane, partition, name, id, correlation_id, aggregate, aggregate_id, key, payload,
                              occurred_at, published_at)
    SELECT 1, n % 32, 'bench.order.placed', gen_random_uuid(), gen_random_uuid(), 'order', n::text, '/order/' || n,
           $2::jsonb, clock_timestamp() - interval '10 days', clock_timestamp() - interval '10 days'
    FROM generate_series(1, $1::bigint) n
"""
_SUCCESSES = """
    INSERT INTO events.success_batch (group_id, lane, first_position, last_position, handler_ids, positions, worker_id,
                                      started_at)
    SELECT (SELECT min(id) FROM events.consumer_group), 1, n, n + 499, ARRAY[(SELECT min(id) FROM events.handler)],
           ARRAY(SELECT generate_series(n, n + 499)), gen_random_uuid(), clock_timestamp() - interval '10 days'
    FROM generate_series(1, $1::bigint, 500) n
"""
_READ = """
    INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen)
    SELECT group_id, lane, partition, max(seq) + 1, pg_current_snapshot()
    FROM events.cursor_log GROUP BY group_id, lane, partition
"""


async def commit(parent: Parent, *, url: str, commits: int) -> None:
    """Measured process: transactions with a row and an event, one after the other."""
    from benchmarks import ours

    async with ours.running(url) as application:
        for number in range(_WARM_UP):
            await application.commit_order(number, [number])
        began = perf_counter()
        for number in range(commits):
            await application.commit_order(_WARM_UP + number, [number])
        took = perf_counter() - began
    parent.tell(rate=commits / took)


async def load_history(url: str, count: int) -> None:
    """Fill the log with what everybody has read."""
    connection = await asyncpg.connect(url)
    try:
        for first in range(0, count, _PART):
            part = min(_PART, count - first)
            await connection.execute(_EVENTS, part, order_json(1).decode(), timeout=_FILL_SECONDS)
            sys.stderr.write(f"[history] {first + part:,} of {count:,} events\n")
        await connection.execute(_SUCCESSES, count, timeout=_FILL_SECONDS)
        await connection.execute(_READ)
    finally:
        await connection.close()
    await settle(url)


async def _measure(stage: Stage, url: str) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    await subject(OURS).load(url, expected)
    await _empty_table(url)
    await settle(url)
    async with child(drain, name=OURS, url=url, expected=expected) as worker:
        drained = await worker.message()
    async with child(commit, url=url, commits=stage.scaled(*_COMMITS)) as publisher:
        committed = await publisher.message()
    # What was committed is worked off too: the next round begins with nothing to do.
    left = await subject(OURS).unfinished(url)
    if left != stage.scaled(*_COMMITS) + _WARM_UP:
        raise RuntimeError(f"{left} events were to be handled after the drain of {expected}.")
    return {RATE: drained[RATE], _COMMITTED: committed[RATE]}


async def _empty_table(url: str) -> None:
    """The application's own rows of the round before are no history of ours."""
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE bench_order")
    await connection.close()


async def _without(stage: Stage) -> Figures:
    async with stage.installed(OURS) as url:
        return await _measure(stage, url)


async def run(stage: Stage) -> Finding:
    """With and without history, interleaved."""
    async with stage.installed(OURS) as full:
        await load_history(full, stage.scaled(*_HISTORY))
        measures = {_WITH: partial(_measure, stage, full), _WITHOUT: partial(_without, stage)}
        rounds = await interleave(stage.rounds, measures, title="history")
    figures = ((RATE, "handled"), (_COMMITTED, "committed"))
    return Finding(
        title="History: draining and publishing above ten million events",
        how=f"A backlog of {stage.scaled(*_BACKLOG)} worked off by one process, then {stage.scaled(*_COMMITS)} "
        f"transactions with one event each, in a database with {stage.scaled(*_HISTORY):,} events that have been read "
        "and in one without.",
        rows=[
            Row(label, word, "events/s" if figure == RATE else "commits/s", rounds.spread(label, figure))
            for figure, word in figures
            for label in measures
        ],
        ratios=[
            Ratio(f"{word}, {_WITH} / {_WITHOUT}", rounds.ratio((_WITH, figure), (_WITHOUT, figure)), ("≥", 0.9))
            for figure, word in figures
        ],
    )
