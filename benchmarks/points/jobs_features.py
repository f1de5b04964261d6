"""What each feature of a job costs, beside the plain job: at its start and in the drain.

The features are in ``benchmarks.job_features``. For each a fresh database; one process starts the runs, a thousand per
call and transaction as a rule, another works them off, as in ``jobs_drain``, and is timed until the last is recorded.
The inputs are made beforehand. The cost is the time per run with the feature, over that without in the same round.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

from benchmarks.child import Parent
from benchmarks.points.jobs_drain import RECORDED, drain
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import JOBS, subject

_RUNS = (20_000, 2_000)
# A transaction of its own for each run: its rate shows on fewer.
_FEWER = {"session": (5_000, 1_000)}
STARTED = "start rate"


async def fill(parent: Parent, *, feature: str, url: str, count: int) -> None:
    """Measured process: start the runs."""
    from benchmarks.job_features import FEATURES
    from benchmarks.our_jobs import OurJobs, batches

    calls = batches(count, FEATURES[feature].per_call)
    async with OurJobs(feature=feature).starter(url) as start:
        begun = perf_counter()
        for orders in calls:
            await start(orders)
        seconds = perf_counter() - begun
    parent.tell(rate=count / seconds)


async def measured(stage: Stage, feature: str, count: int) -> Figures:
    """One measurement of a job with a feature."""
    name = f"{JOBS}@feature={feature}"
    async with stage.installed(name) as url:
        async with child(fill, feature=feature, url=url, count=count) as starter:
            started = await starter.message()
        await settle(url)
        async with child(drain, name=name, url=url, expected=count) as worker:
            worked = await worker.message()
        if unfinished := await subject(name).unfinished(url):
            raise RuntimeError(f"{feature}: {unfinished} of {count} runs were left unfinished.")
    return {STARTED: started["rate"], RECORDED: worked[RECORDED]}


async def run(stage: Stage) -> Finding:
    """Every feature, interleaved."""
    from benchmarks.job_features import FEATURES, OF_LIMITS, PLAIN

    names = [name for name in FEATURES if name not in OF_LIMITS]
    measures = {name: partial(measured, stage, name, stage.scaled(*_FEWER.get(name, _RUNS))) for name in names}
    rounds = await interleave(stage.rounds, measures, title="jobs_features")
    figures = (RECORDED, STARTED)
    fewer = ", ".join(f"{name}: {stage.scaled(*sizes)}" for name, sizes in _FEWER.items())
    others = [name for name in names if name != PLAIN]
    return Finding(
        title="Jobs: the cost of each feature",
        how=f"{stage.scaled(*_RUNS)} runs of one job ({fewer}), started by one process, and worked off by another, "
        "timed until the last is recorded; the time per run, over that of the plain job.",
        rows=[Row(name, figure, "runs/s", rounds.spread(name, figure)) for figure in figures for name in names],
        ratios=[
            Ratio(f"{words}, {name} / {PLAIN}", rounds.ratio((PLAIN, figure), (name, figure)))
            for figure, words in ((RECORDED, "time in the drain"), (STARTED, "time of the start"))
            for name in others
        ],
        notes=[f"{name}: {FEATURES[name].text}." for name in names],
    )
