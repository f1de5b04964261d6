"""Draining a backlog of no-op jobs in one process, beside PgQueuer, Procrastinate and DBOS at their best settings.

As in ``drain``: a fresh database per subject and round, the backlog, VACUUM (ANALYZE) and CHECKPOINT, one worker
process, and the rate from the moment 4 % of the backlog have begun to the begin of the last. Beside it stands the rate
to the moment when the product has recorded the last one as done, for which its own table is asked from the last begin
on: who defers its bookkeeping shows it there. Our rows of runs are kept, and so are DBOS's; PgQueuer deletes its jobs,
and Procrastinate, as it was found fastest, too.

Peers are tried with several settings beforehand, on a shorter backlog in interleaved rounds; the best is measured.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter

from benchmarks.child import Parent
from benchmarks.points.drain import RATE, Meter
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import JOBS, OF_JOBS, subject
from benchmarks.tuning import tune

RECORDED = "recorded rate"
CANDIDATES = {
    "jobs": ("jobs",),
    "pgqueuer": tuple(f"pgqueuer@batch_size={size}" for size in (100, 500, 1000, 2000, 5000)),
    "procrastinate": tuple(f"procrastinate@concurrency={number}" for number in (1, 10, 30)),
    "dbos": (
        "dbos@concurrency=100", "dbos@concurrency=100,threads=1", "dbos@concurrency=300,threads=1",
        "dbos@concurrency=1000,threads=1", "dbos@concurrency=1000", "dbos@concurrency=3000,threads=1",
    ),
}  # fmt: skip
_BACKLOG = {
    "jobs": (50_000, 10_000),
    "pgqueuer": (50_000, 10_000),
    "procrastinate": (2_000, 500),
    "dbos": (5_000, 1_000),
}
_TUNED_ON = {"pgqueuer": (20_000, 5_000), "procrastinate": (1_500, 300), "dbos": (3_000, 600)}
_TUNING_ROUNDS = (3, 1)
_WANTED = {"pgqueuer": 1.0, "procrastinate": 20.0, "dbos": 15.0}
_DEADLINE = 300.0
_LOOK_EVERY_SECONDS = 0.002


async def drain(parent: Parent, *, name: str, url: str, expected: int) -> None:
    """Measured process: work the backlog off, and see when the last one is recorded."""
    product, meter = subject(name), Meter(expected)
    async with asyncio.timeout(_DEADLINE), product.worker(url, meter, "drain"):
        await meter.finished.wait()
        while await product.unfinished(url):
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        recorded = meter.rate_until(perf_counter())
    parent.tell(**{RATE: meter.rate, RECORDED: recorded})


async def drained(stage: Stage, sizes: dict[str, tuple[int, int]], name: str) -> Figures:
    """One measurement of a subject."""
    expected = stage.scaled(*sizes[name.partition("@")[0]])
    async with stage.installed(name) as url:
        await subject(name).load(url, expected)
        await settle(url)
        async with child(drain, name=name, url=url, expected=expected) as worker:
            figures = await worker.message()
        unfinished = await subject(name).unfinished(url)
    if unfinished:
        raise RuntimeError(f"{name} left {unfinished} of {expected} unfinished after its worker had stopped.")
    return figures


async def run(stage: Stage) -> Finding:
    """Ours and the peers, interleaved."""
    names = stage.taking_part(OF_JOBS)
    tuned = await tune(
        {name: CANDIDATES[name] for name in names}, partial(drained, stage, _TUNED_ON), stage.scaled(*_TUNING_ROUNDS),
        figure=RECORDED,
    )  # fmt: skip
    measures = {name: partial(drained, stage, _BACKLOG, tuned.best[name]) for name in names}
    rounds = await interleave(stage.rounds, measures, title="jobs_drain")
    peers = [name for name in names if name != JOBS and JOBS in names]
    figures = (RATE, RECORDED)
    sizes = ", ".join(f"{name}: {stage.scaled(*_BACKLOG[name])}" for name in names)
    return Finding(
        title="Jobs: drain, no-op, one process",
        how=f"A backlog of jobs with an input of 1 kB ({sizes}), worked off by one process. Rate from the first 4 % to "
        "the begin of the last; recorded rate, to the moment when the last is recorded as done.",
        rows=[Row(name, figure, "jobs/s", rounds.spread(name, figure)) for figure in figures for name in names],
        ratios=[
            Ratio(f"{figure}: {JOBS} / {peer}", rounds.ratio((JOBS, figure), (peer, figure)), ("≥", _WANTED[peer]))
            for figure in figures
            for peer in peers
        ],
        notes=tuned.notes,
    )
