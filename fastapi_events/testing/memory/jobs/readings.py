"""Runs on memory as their starters see them and look after them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi_events.model.job import ReplayFrom
from fastapi_events.store.redrives import Anew
from fastapi_events.store.run_readings import ENDED, PENDING, RUNNING, RunFilter, RunReadings
from fastapi_events.testing.memory.held_back import lock
from fastapi_events.testing.memory.jobs.anew import begin_anew
from fastapi_events.testing.memory.jobs.kept_run import KeptRun
from fastapi_events.testing.memory.jobs.runs import KeptRuns


class MemoryRunReadings(RunReadings):
    """``RunReadings`` without a database."""

    def __init__(self, runs: KeptRuns) -> None:
        self._runs = runs

    async def find(self, run_id: UUID) -> Any | None:
        with lock:
            run = self._runs.find(run_id)
            return None if run is None else row_of(self._runs, run)

    async def page(self, wanted: RunFilter) -> list[tuple[Any, int | datetime]]:
        with lock:
            after: Any = wanted.after
            found = [(run, _place_of(run, wanted)) for run in self._runs.all() if _passes(run, wanted)]
            found = [(run, at) for run, at in found if after is None or at < after]
            found.sort(key=lambda each: (each[1], each[0].id.int), reverse=True)
            return [(row_of(self._runs, run), at) for run, at in found[: wanted.limit]]

    async def cancel(self, run_ids: Sequence[UUID], reason: str) -> dict[UUID, bool]:
        with lock:
            return {run.id: self._runs.cancel(run, reason) for run in self._of(run_ids) if run.end is None}

    async def reschedule(self, run_ids: Sequence[UUID], delay: float | None, at: datetime | None) -> int:
        with lock:
            now = self._runs.clock.now()
            due = now + timedelta(seconds=delay or 0.0) if at is None else max(at, now)
            moved = [run for run in self._of(run_ids) if _has_not_begun(run)]
            for run in moved:
                run.place, run.due_at, run.gate, run.holds = "t", due, None, False
            return len(moved)

    async def open_of_scope(
        self, scope: str, scope_id: str, jobs: Sequence[int], tenant: str | None, after: int
    ) -> list[Any]:
        with lock:
            return [
                row_of(self._runs, run)
                for run in self._runs.queued()
                if (run.start.scope, run.start.scope_id) == (scope, scope_id)
                and run.number > after
                and run.start.job_id in jobs
                and tenant in (None, run.start.tenant_id)
            ]

    async def signal(self, run_id: UUID, name: str, payload: str) -> bool:
        with lock:
            run = self._runs.find(run_id)
            if run is None or run.end is not None:
                return False
            run.signals.append((name, payload))
            run.news_has_come()
            return True

    async def redrive(self, run_id: UUID) -> Anew:
        with lock:
            failed = [run for run in self._of([run_id]) if run.end is not None and run.end.state != "completed"]
            return begin_anew(self._runs, failed)

    async def replay(self, run_id: UUID, start: ReplayFrom) -> Anew:
        with lock:
            ended = [run for run in self._of([run_id]) if run.end is not None]
            anew = begin_anew(self._runs, ended)
            for run in self._of(anew.begun):
                forget_steps(run, start)
            return anew

    def _of(self, run_ids: Sequence[UUID]) -> list[KeptRun]:
        found = [self._runs.find(run_id) for run_id in dict.fromkeys(run_ids)]
        return [run for run in found if run is not None]


def _has_not_begun(run: KeptRun) -> bool:
    begun = run.resumed or run.attempts != run.attempts_before
    return run.end is None and run.place not in ("x", "w") and not begun and run.cancel_reason is None


def row_of(runs: KeptRuns, run: KeptRun) -> dict[str, Any]:
    """A run with what is known of it, by the columns that PostgreSQL's reading has."""
    end, start, now = run.end, run.start, runs.clock.now()
    told = ("reason", "note", "error_type", "error_message", "fingerprint", "duration", "finished_at")
    kept = end is not None and (end.expires_at is None or end.expires_at > now)
    last = (
        run.history[-1] if end is None and run.history and (run.attempts > run.attempts_before or run.postponed) else {}
    )
    row = start._asdict() | {name: None if end is None else getattr(end, name) for name in told}
    return row | {
        "id": run.id, "number": run.number, "job": runs.job_name(start.job_id), "created_at": run.created_at,
        "input": run.input, "state": state_of(run), "attempts": run.attempts if end is None else end.attempts,
        "redrives": run.redrives, "due_at": run.due_at if run.place == "t" and end is None else None,
        "result": end.result if end is not None and kept else None,
        **{name: last[name] for name in ("error_type", "error_message") if last},
    }  # fmt: skip


def state_of(run: KeptRun) -> str:
    """What people call where a run is."""
    if run.end is not None:
        return run.end.state
    return "running" if run.place == "x" else "pending"


def forget_steps(run: KeptRun, start: ReplayFrom) -> None:
    """Forget what a run has done from a place on."""
    steps = [step.record for step in run.steps.values()]
    if start == "last_step":
        done = [step.number for step in steps if (step.kind, step.state) == ("step", "done")]
        first = max(done, default=None)
    elif start == "last_checkpoint":
        first = max((step.number for step in steps if step.kind == "checkpoint"), default=-1) + 1
    else:
        first, run.progress = 0, None
    if first is not None:
        run.steps = {name: step for name, step in run.steps.items() if step.record.number < first}


def _passes(run: KeptRun, wanted: RunFilter) -> bool:
    if run.start.job_id not in wanted.jobs:
        return False
    if wanted.scope is not None:
        whose = wanted.tenant in (None, run.start.tenant_id)
        return whose and (run.start.scope, run.start.scope_id) == wanted.scope
    if wanted.state is None:
        return True
    if wanted.state in ENDED:
        return run.end is not None and run.end.state == wanted.state
    return run.end is None and run.place in (RUNNING if wanted.state == "running" else PENDING)


def _place_of(run: KeptRun, wanted: RunFilter) -> Any:
    """By what the list is ordered: when runs ended, or when they were started."""
    return run.end.finished_at if run.end is not None and wanted.state in ENDED else run.number
