"""What limits cost a pool: the same runs with them and without.

Two kinds of work. No-op runs, as in ``jobs_features``: a limit that is never reached is the price of asking. And runs
that take ten milliseconds each in a pool of ten, at most one at a time of each of ten keys: as many can be at work as
without, but the next one of a key has to be let through when the last one has ended.
"""

from __future__ import annotations

from functools import partial

from benchmarks.points.jobs_drain import RECORDED
from benchmarks.points.jobs_features import STARTED, measured
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import interleave
from benchmarks.stage import Stage

_RUNS = (20_000, 2_000)
_WORKING = (2_000, 300)
_PAIRS = {"limit of all": "plain", "limit": "plain", "rate": "plain", "working by key": "working"}
_NAMES = ("plain", "limit of all", "limit", "rate", "working", "working by key")


async def run(stage: Stage) -> Finding:
    """All of them, interleaved."""
    from benchmarks.job_features import FEATURES

    sizes = {name: stage.scaled(*(_WORKING if name.startswith("working") else _RUNS)) for name in _NAMES}
    measures = {name: partial(measured, stage, name, sizes[name]) for name in _NAMES}
    rounds = await interleave(stage.rounds, measures, title="jobs_limits")
    figures = (RECORDED, STARTED)
    return Finding(
        title="Jobs: a pool's throughput with limits",
        how=f"{stage.scaled(*_RUNS)} runs that do nothing, and {stage.scaled(*_WORKING)} that take 10 ms in a pool of "
        "ten, worked off by one process and timed until the last is recorded.",
        rows=[Row(name, figure, "runs/s", rounds.spread(name, figure)) for figure in figures for name in _NAMES],
        ratios=[
            Ratio(f"{RECORDED}: {name} / {plain}", rounds.ratio((name, RECORDED), (plain, RECORDED)), ("≥", 0.6))
            for name, plain in _PAIRS.items()
        ],
        notes=[f"{name}: {FEATURES[name].text}." for name in _NAMES],
    )
