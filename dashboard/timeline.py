"""When the steps and attempts of a run took place, as bars on one line of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi_events.api.observe.job_views import RunAttempt, RunStep
from fastapi_events.api.run_answers import RunAnswer, StepAnswer

SCALE = 1000
"""Units of the line of time."""
_NARROWEST = 4.0
_STATES = {"retry": "retrying"}


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """A bar with what it is of; ``offset`` and ``duration`` are seconds. An attempt has no ``step``."""

    name: str
    kind: str
    state: str
    offset: float
    duration: float
    x: float
    width: float
    attempt: RunAttempt | None = None
    step: StepAnswer | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars in the order in which they begin; ``total`` seconds long, from when the run was started."""

    rows: tuple[TimelineRow, ...]
    total: float


def timeline(run: RunAnswer, now: datetime) -> Timeline:
    """What a run has done, from its start to its end or to now."""
    spans = sorted([*_attempts(run), *_steps(run.steps, now)], key=lambda span: span[0])
    start = min([run.created_at, *(span[0] for span in spans)])
    end = max([run.finished_at or now, *(span[1] for span in spans)])
    total = max((end - start).total_seconds(), 1e-6)
    return Timeline(tuple(_row(span, start, total) for span in spans), total)


_Span = tuple[datetime, datetime, RunAttempt | StepAnswer | None]


def _attempts(run: RunAnswer) -> Iterable[_Span]:
    for attempt in run.history:
        yield attempt.finished_at - timedelta(seconds=attempt.duration), attempt.finished_at, attempt
    recorded = {attempt.number for attempt in run.history}
    if run.finished_at is not None and run.duration and run.attempts not in recorded:
        yield run.finished_at - timedelta(seconds=run.duration), run.finished_at, None


def _steps(steps: Sequence[StepAnswer], now: datetime) -> Iterable[_Span]:
    for step in steps:
        yield *span_of(step, now), step


def span_of(step: RunStep, now: datetime) -> tuple[datetime, datetime]:
    """From when to when a step lasted; what waits, lasts until now."""
    if step.state == "waiting" and step.kind != "sleep":
        return step.changed_at, max(now, step.changed_at)
    if step.kind == "sleep" and step.due_at is not None:
        return step.changed_at, step.due_at
    return step.changed_at - timedelta(seconds=step.duration), step.changed_at


def _row(span: _Span, start: datetime, total: float) -> TimelineRow:
    begin, end, of = span
    offset, lasted = (begin - start).total_seconds(), (end - begin).total_seconds()
    width = max(_NARROWEST, SCALE * lasted / total)
    x = min(SCALE * offset / total, SCALE - width)
    where = (offset, lasted, round(max(x, 0.0), 1), round(min(width, SCALE), 1))
    if of is None:
        return TimelineRow("last attempt", "attempt", "done", *where)
    if isinstance(of, RunAttempt):
        return TimelineRow(f"attempt {of.number}", "attempt", of.outcome, *where, attempt=of)
    return TimelineRow(of.name, of.kind, _STATES.get(of.state, of.state), *where, step=of)
