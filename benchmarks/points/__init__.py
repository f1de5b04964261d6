"""The points that can be measured, by name; each module says how it measures."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable

from benchmarks import subjects
from benchmarks.report import Finding
from benchmarks.stage import Stage

EVENTS = (
    "drain",
    "transactional",
    "publish",
    "committers",
    "latency",
    "idle",
    "late_commit",
    "held_snapshot",
    "worker_start",
    "retention",
    "history",
    "isolation",
    "slow_handler",
    "breaker",
    "hot_key",
    "replay",
)
JOBS = (
    "jobs_drain",
    "jobs_features",
    "jobs_start_many",
    "jobs_latency",
    "jobs_limits",
    "jobs_scale",
    "jobs_cancel",
    "jobs_idle",
)
NAMES = (*EVENTS, *JOBS)
GROUPS = {"events": EVENTS, "jobs": JOBS}
"""Words that stand for several points."""

# Comparisons of ours with ours: what it costs, or how it holds, beside the same code or the same minute.
_WITH_PEERS = {
    "drain",
    "transactional",
    "latency",
    "idle",
    "jobs_drain",
    "jobs_start_many",
    "jobs_latency",
    "jobs_idle",
}
ALONE = {name: subjects.JOBS if name in JOBS else subjects.OURS for name in NAMES if name not in _WITH_PEERS}
"""Which subject a point measures alone."""

Run = Callable[[Stage], Awaitable[Finding]]


def point(name: str) -> Run:
    """The ``run`` of a point's module."""
    run: Run = importlib.import_module(f"benchmarks.points.{name}").run
    return run
