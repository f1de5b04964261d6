"""Idle cost of a process that runs jobs: ``idle``, of a worker with one job and nothing to do."""

from __future__ import annotations

from benchmarks.points.idle import finding, measured
from benchmarks.report import Finding
from benchmarks.stage import Stage
from benchmarks.subjects import OF_JOBS


async def run(stage: Stage) -> Finding:
    """Ours and the peers, one after the other."""
    rounds = await measured(stage, stage.taking_part(OF_JOBS), "jobs_idle")
    return finding(stage, rounds, [], " with jobs")
