"""Claiming, and looking, among a million pending runs and ten million finished ones.

One database gets the finished runs and then the pending ones, of another job: half of them ready in a pool that nobody
works in, half of them due in a day. VACUUM (ANALYZE) and CHECKPOINT follow; it serves all rounds. Beside it each round
gets a database without any. In both a backlog of the measured job is worked off by one process, and each of its claims
is timed, the first 4 % of the runs left out, from the call of the statement to its rows. What people look at is asked
for in both, several times: lists of runs by state and by scope, a page further down, one run, the jobs and the pools.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

import asyncpg

from benchmarks.child import Parent
from benchmarks.points.drain import Meter
from benchmarks.processes import child
from benchmarks.recording import quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import JOBS, subject

_FINISHED = (10_000_000, 100_000)
_PENDING = (1_000_000, 20_000)
_BACKLOG = (50_000, 5_000)
_PART = 1_000_000
_FILL_SECONDS = 3600.0
_DEADLINE = 300.0
_LOOKS = 5
_CLAIM, _LIST = "claim p99", "slowest list"
_FULL, _EMPTY = "full", "empty"
_INPUT = '{"sku": "SKU-00042", "quantity": 3, "address": "12 Long Street, 10115 Berlin, Germany"}'
_OLD_JOB = """
    INSERT INTO events.job (group_id, name, pool) SELECT group_id, 'bench.old', 'old' FROM events.job LIMIT 1
    RETURNING id
"""
_RUNS = """
    INSERT INTO events.run (id, number, job_id, correlation_id, scope, scope_id, tenant_id, created_at, input)
    SELECT lpad(to_hex(n), 32, '0')::uuid, nextval('events.run_number'), $1::integer, gen_random_uuid(), 'account',
           (n % 100000)::text, CASE WHEN n % 10 = 0 THEN 'tenant-' || n % 1000 END,
           clock_timestamp() - interval '10 days', $4::jsonb
    FROM generate_series($2::bigint, $3::bigint) n
"""
_ENDS = """
    INSERT INTO events.run_end (run_id, job_id, state, attempts, duration, finished_at, expires_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, $1::integer,
           CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'completed' END, 1, 0.1,
           clock_timestamp() - interval '10 days' + n * interval '50 ms', clock_timestamp() + interval '10 days'
    FROM generate_series($2::bigint, $3::bigint) n
"""
_QUEUED = """
    INSERT INTO events.run_queue (run_id, number, job_id, priority, state, due_at)
    SELECT r.id, r.number, $1::integer, 0, CASE WHEN n % 2 = 0 THEN 'r' ELSE 't' END::"char",
           CASE WHEN n % 2 = 1 THEN clock_timestamp() + interval '1 day' END
    FROM generate_series($2::bigint, $3::bigint) n JOIN events.run r ON r.id = lpad(to_hex(n), 32, '0')::uuid
"""


async def work(parent: Parent, *, url: str, expected: int) -> None:
    """Measured process: works the backlog off, and times each claim."""
    from benchmarks.our_jobs import OurJobs
    from fastapi_events.store.runs import RunQueue

    meter, took, claim = Meter(expected), list[float](), RunQueue.claim

    async def timed(queue: RunQueue, *arguments: Any) -> list[Any]:
        began = perf_counter()
        rows = await claim(queue, *arguments)
        if rows and meter.warm:
            took.append((perf_counter() - began) * 1000)
        return rows

    RunQueue.claim = timed  # type: ignore[method-assign]
    async with asyncio.timeout(_DEADLINE), OurJobs().worker(url, meter, "drain"):
        await meter.finished.wait()
    parent.tell(**{_CLAIM: quantile(took, 0.99), "claim p50": quantile(took, 0.5), "rate": meter.rate})


async def look(parent: Parent, *, url: str) -> None:
    """Measured process: asks for what people look at."""
    from benchmarks.our_jobs import OurJobs, running

    module, _ = OurJobs().declared(lambda _: None)
    async with running(url, module, drains=False) as (events, _):
        observe = events.observe
        first = await observe.runs("")
        run = first.runs[0].id if first.runs else None
        wanted: dict[str, Callable[[], Awaitable[Any]]] = {
            "runs": partial(observe.runs, ""),
            "next page": partial(observe.runs, "", cursor=first.older),
            "of a job": partial(observe.runs, "job:bench.handle"),
            "failed": partial(observe.runs, "state:failed"),
            "completed": partial(observe.runs, "state:completed"),
            "pending": partial(observe.runs, "state:pending"),
            "of a scope": partial(observe.runs, "scope:account/42"),
            "jobs": observe.jobs,
            "pools": observe.pools,
        }
        if run is not None:
            wanted["one run"] = partial(observe.run, run)
        took = {name: [await _timed(ask) for _ in range(_LOOKS)] for name, ask in wanted.items()}
    slowest = {name: max(times[1:]) for name, times in took.items()}
    sys.stderr.write(f"[jobs_scale] {', '.join(f'{name} {value:.0f} ms' for name, value in slowest.items())}\n")
    parent.tell(slowest=max(slowest.values()))


async def _timed(ask: Callable[[], Awaitable[Any]]) -> float:
    began = perf_counter()
    await ask()
    return (perf_counter() - began) * 1000


async def load_runs(url: str, finished: int, pending: int) -> None:
    """Fill it with runs of a job that nobody works at."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    try:
        job: int = await connection.fetchval(_OLD_JOB)
        for first in range(1, finished + pending + 1, _PART):
            last = min(first + _PART - 1, finished + pending)
            await connection.execute(_RUNS, job, first, last, _INPUT, timeout=_FILL_SECONDS)
            done = min(last, finished)
            await connection.execute(_ENDS, job, first, done, timeout=_FILL_SECONDS)
            await connection.execute(_QUEUED, job, max(first, finished + 1), last, timeout=_FILL_SECONDS)
            sys.stderr.write(f"[jobs_scale] {last:,} of {finished + pending:,} runs\n")
    finally:
        await connection.close()
    await settle(url)


async def _measure(stage: Stage, url: str) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    await subject(JOBS).load(url, expected)
    await settle(url)
    async with child(work, url=url, expected=expected) as worker:
        claimed = await worker.message()
    async with child(look, url=url) as onlooker:
        looked = await onlooker.message()
    return {**claimed, _LIST: looked["slowest"]}


async def _empty(stage: Stage) -> Figures:
    async with stage.installed(JOBS) as url:
        return await _measure(stage, url)


async def run(stage: Stage) -> Finding:
    """With all these runs and without, interleaved."""
    finished, pending = stage.scaled(*_FINISHED), stage.scaled(*_PENDING)
    async with stage.installed(JOBS) as full:
        async with asyncio.timeout(_FILL_SECONDS):
            await load_runs(full, finished, pending)
        measures = {_FULL: partial(_measure, stage, full), _EMPTY: partial(_empty, stage)}
        rounds = await interleave(stage.rounds, measures, title="jobs_scale")
    figures = ((_CLAIM, "ms"), ("claim p50", "ms"), (_LIST, "ms"), ("rate", "runs/s"))
    return Finding(
        title="Jobs: a million pending runs and ten million finished ones",
        how=f"{stage.scaled(*_BACKLOG)} runs worked off by one process in a database with {finished:,} finished and "
        f"{pending:,} pending runs, and in one without; each claim timed. Then what people look at.",
        rows=[Row(label, figure, unit, rounds.spread(label, figure)) for figure, unit in figures for label in measures],
        ratios=[
            Ratio(f"{_CLAIM}, {_FULL} / {_EMPTY}", rounds.ratio((_FULL, _CLAIM), (_EMPTY, _CLAIM)), ("≤", 2.0)),
            Ratio(f"{_LIST}, {_FULL}, ms", rounds.spread(_FULL, _LIST), ("≤", 300.0)),
        ],
    )
