"""Latency from a start's commit in one process to the run's begin in another, at 50 a second: ``latency``, of jobs.

DBOS's queues are polled: its poll is as short as was found to make it fastest (see ``benchmarks.peers.dbos``).
"""

from __future__ import annotations

from benchmarks.points.latency import compared
from benchmarks.report import Finding
from benchmarks.stage import Stage
from benchmarks.subjects import JOBS, OF_JOBS

_DRAINING_SECONDS = 5.0


async def run(stage: Stage) -> Finding:
    """Ours and the peers, interleaved."""
    return await compared(stage, JOBS, stage.taking_part(OF_JOBS), title="job", draining=_DRAINING_SECONDS)
