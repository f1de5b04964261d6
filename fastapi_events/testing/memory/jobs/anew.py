"""Letting runs that have ended begin anew, in memory: what their limits say to that is decided as on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi_events.model.run_start import RunStart
from fastapi_events.store import limited_starts
from fastapi_events.store.redrives import Anew, asked_anew, conflict_of
from fastapi_events.store.starts import answered
from fastapi_events.testing.memory.jobs.kept_run import KeptRun
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.starting import Deciding


def begin_anew(runs: KeptRuns, chosen: Sequence[KeptRun]) -> Anew:
    """Let them begin, in the order of their numbers. Those stay as they are whose key, or place, another run has."""
    found = {run.id: run for run in sorted(chosen, key=lambda run: run.number)}
    starts = [asked_of(run) for run in found.values()]
    decide(runs, starts)
    for start in starts:
        if not start.is_duplicate:
            runs.begin_anew(found[start.id], start)
    begun = sorted(start.id for start in starts if not start.is_duplicate)
    return Anew(begun, [conflict_of(start) for start in starts if start.is_duplicate])


def asked_of(run: KeptRun) -> RunStart:
    """A run that has ended as a start that is to be decided."""
    limits = run.start.limits
    names = ("limit_key", "slots", "exclusive", "dedupe_key", "until_started")
    row = dict.fromkeys(names) if limits is None else {name: getattr(limits, name) for name in names}
    if limits is not None and limits.window is not None:
        row["dedupe_key"] = None  # it runs from the start
    return asked_anew(row | {"run_id": run.id, "job_id": run.start.job_id})


def decide(runs: KeptRuns, starts: Sequence[RunStart]) -> None:
    """Have the limits asked."""
    limited = [start for start in starts if start.limits is not None]
    if limited:
        answered(limited_starts.decided(limited), Deciding(runs, None, limited).answer)
