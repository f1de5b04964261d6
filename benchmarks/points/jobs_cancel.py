"""Cancelling runs that another process is at: from the call of ``cancel`` to the interruption of the code.

One process has a pool of runs that wait for ever; another one cancels them, one after the other. Each is the root of a
tree: it has spawned three runs, one per close policy, that wait for ever as well. Timed is from just before ``cancel``
to the ``CancelledError`` in the root's code, and in that of the child that is cancelled with its parent. At the end the
trees must have followed their policies: the child that is terminated is no longer anybody's, the one that is abandoned
still runs. Both processes read one monotonic clock.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks.child import Parent
from benchmarks.processes import child
from benchmarks.recording import Recording, first_of_each, load, milliseconds, quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.stage import Stage
from benchmarks.subjects import JOBS
from fastapi_events import JobContext, Module

_TREES = (20, 5)
_POLICIES = ("cancel", "terminate", "abandon")
_CHILDREN_AT = 1_000_000
"""Added to a root's number: that of the child which is cancelled with it."""
_PAUSE_SECONDS = 0.1
_PATIENCE = 60.0
_STATES = """
    SELECT e.state, q.on_parent_close, count(*) AS number FROM events.run r
    LEFT JOIN events.run_end e ON e.run_id = r.id LEFT JOIN events.run_queue q ON q.run_id = r.id
    WHERE r.parent_id IS NOT NULL GROUP BY e.state, q.on_parent_close
"""


def trees(interrupted: Recording, begun: list[int]) -> Module:
    """A module whose runs wait for ever, and note when they are interrupted."""
    module = Module("bench")

    @module.job("bench.leaf", pool="leaves")
    async def leaf(job: JobContext[int]) -> None:
        await _wait(job.input)

    @module.job("bench.root", pool="roots")
    async def root(job: JobContext[int]) -> None:
        for policy in _POLICIES:
            number = job.input + _CHILDREN_AT if policy == "cancel" else 0
            await job.spawn(leaf, number, on_parent_close=policy, id=policy)
        await _wait(job.input)

    async def _wait(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if number:
                interrupted.note(number)
            raise

    return module


async def work(parent: Parent, *, url: str, path: str, count: int) -> None:
    """Measured process: has all trees at work, until told to stop."""
    from benchmarks.our_jobs import running

    interrupted, begun = Recording(), list[int]()
    pools = {"roots": count, "leaves": count * len(_POLICIES)}
    async with running(url, trees(interrupted, begun), concurrency=pools, shutdown_grace=0.5):
        async with asyncio.timeout(_PATIENCE):
            while len(begun) < count * (1 + len(_POLICIES)):
                await asyncio.sleep(0.01)
        parent.tell(ready=True)
        await parent.order()
    interrupted.save(path)
    parent.tell(saved=True)


async def cancel(parent: Parent, *, url: str, path: str, runs: list[str]) -> None:
    """Measured process: cancels them one after the other."""
    from benchmarks.our_jobs import running

    called = Recording()
    async with running(url, trees(Recording(), []), drains=False) as (events, _):
        for number, run in enumerate(runs, 1):
            instant = monotonic_ns()
            await events.jobs.cancel(UUID(run))
            called.note(number, instant)
            called.note(number + _CHILDREN_AT, instant)
            await asyncio.sleep(_PAUSE_SECONDS)
    called.save(path)
    parent.tell(saved=True)


async def _measure(stage: Stage) -> Figures:
    from benchmarks.our_jobs import running

    count = stage.scaled(*_TREES)
    called, interrupted = stage.folder / "called", stage.folder / "interrupted"
    async with stage.installed(JOBS) as url:
        module = trees(Recording(), [])
        async with running(url, module, drains=False) as (events, _):
            root = events.registry.jobs["bench.root"]
            started = [str(one.run) for one in await events.jobs.start_many(root, range(1, count + 1))]
        async with child(work, url=url, path=str(interrupted), count=count) as worker:
            await worker.message()
            async with child(cancel, url=url, path=str(called), runs=started) as canceler:
                await canceler.message()
            await asyncio.sleep(1.0)
            await _check(url, count)
            await worker.stop()
    return _figures(called, interrupted)


async def _check(url: str, count: int) -> None:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    rows = await connection.fetch(_STATES)
    await connection.close()
    found = {(row["state"], row["on_parent_close"]): row["number"] for row in rows}
    wanted = {("canceled", None): 2 * count, (None, "abandon"): count}
    if found != wanted:
        raise RuntimeError(f"the children of {count} cancelled runs ended as {found}, not as {wanted}.")


def _figures(called: Path, interrupted: Path) -> Figures:
    calls, ends = first_of_each(load(called)), first_of_each(load(interrupted))
    roots = milliseconds(calls, ends, lambda number: number < _CHILDREN_AT)
    children = milliseconds(calls, ends, lambda number: number > _CHILDREN_AT)
    return {
        "p50": quantile(roots, 0.5),
        "longest": max(roots),
        "child, p50": quantile(children, 0.5),
        "child, longest": max(children),
    }


async def run(stage: Stage) -> Finding:
    """Ours alone."""
    rounds = await interleave(stage.rounds, {JOBS: partial(_measure, stage)}, title="jobs_cancel")
    names = ("p50", "longest", "child, p50", "child, longest")
    return Finding(
        title="Jobs: cancelling what another process is at",
        how=f"{stage.scaled(*_TREES)} runs, each with three children, cancelled one after the other; from the call of "
        "cancel() to the CancelledError in the code of the run, and of the child that is cancelled with it.",
        rows=[Row(JOBS, name, "ms", rounds.spread(JOBS, name)) for name in names],
        ratios=[
            Ratio(f"{name}, ms", rounds.spread(JOBS, name), ("≤", 1000.0)) for name in ("longest", "child, longest")
        ],
    )
