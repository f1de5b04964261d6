"""Findings as Markdown: what was measured, how, on which machine, and how it stands to what is wanted."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from benchmarks.rounds import Spread

_DISTRIBUTIONS = (
    *(
        "fastapi-events-pg",
        "pgqueuer",
        "procrastinate",
        "dbos",
        "asyncpg",
        "psycopg",
        "sqlalchemy",
        "pydantic",
        "fastapi",
    ),
    "uvloop",
)


@dataclass(frozen=True)
class Row:
    """One figure of one subject."""

    subject: str
    figure: str
    unit: str
    spread: Spread


@dataclass(frozen=True)
class Ratio:
    """A comparison, and the bound it is wanted to keep, if any."""

    text: str
    spread: Spread
    wanted: tuple[Literal["≥", "≤", "<"], float] | None = None

    @property
    def verdict(self) -> str:
        """The bound and whether the median keeps it."""
        if self.wanted is None:
            return ""
        sign, bound = self.wanted
        value = self.spread.median
        kept = value >= bound if sign == "≥" else value <= bound if sign == "≤" else value < bound
        return f"{sign} {bound:g}: {'kept' if kept else '**missed**'}"


@dataclass(frozen=True)
class Finding:
    """The outcome of one point. ``how`` is one paragraph: what was timed, from when to when, on how much."""

    title: str
    how: str
    rows: Sequence[Row] = ()
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def heading(facts: Mapping[str, str], arguments: str) -> str:
    """Date, machine, server and versions."""
    cores = len(os.sched_getaffinity(0))
    load = " / ".join(f"{value:.2f}" for value in os.getloadavg())
    settings = ", ".join(f"{name} = {value}" for name, value in facts.items() if name != "PostgreSQL")
    lines = [
        "# Benchmarks",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `python -m benchmarks {arguments}`".rstrip(),
        f"- machine: {cores} cores, {_processor()}, {platform.system()} {platform.release()}, load at start {load}",
        f"- Python {platform.python_version()}, PostgreSQL {facts['PostgreSQL']} ({settings})",
        f"- versions: {', '.join(_versions())}",
    ]
    return "\n".join(lines)


def section(finding: Finding) -> str:
    """One point as Markdown."""
    parts = [f"## {finding.title}", "", finding.how]
    if finding.rows:
        rows = ((row.subject, f"{row.figure}, {row.unit}", *_cells(row.spread)) for row in finding.rows)
        parts += ["", *_table(("subject", "figure", "median", "min", "max"), rows)]
    if finding.ratios:
        ratios = ((ratio.text, *_cells(ratio.spread), ratio.verdict) for ratio in finding.ratios)
        parts += ["", *_table(("ratio", "median", "min", "max", "wanted"), ratios)]
    if finding.notes:
        parts += ["", *(f"- {note}" for note in finding.notes)]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---" if index == 0 else "---:" for index in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _cells(spread: Spread) -> tuple[str, str, str]:
    return _number(spread.median), _number(spread.smallest), _number(spread.largest)


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _versions() -> Iterable[str]:
    for distribution in _DISTRIBUTIONS:
        try:
            yield f"{distribution} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{distribution} (not installed)"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
