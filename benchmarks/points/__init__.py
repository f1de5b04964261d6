"""The points that can be measured, by name; each module says how it measures."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable

from benchmarks.report import Finding
from benchmarks.stage import Stage

NAMES = (
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

# Comparisons of ours with ours: what it costs, or how it holds, beside the same code or the same minute.
OURS_ALONE = frozenset(NAMES) - {"drain", "transactional", "latency", "idle"}

Run = Callable[[Stage], Awaitable[Finding]]


def point(name: str) -> Run:
    """The ``run`` of a point's module."""
    run: Run = importlib.import_module(f"benchmarks.points.{name}").run
    return run
