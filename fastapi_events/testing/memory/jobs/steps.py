"""Steps in memory; one that has a session becomes true with its commit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from fastapi_events.model.run_start import Sealed
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.steps import Execute, StepRecord, StepStore
from fastapi_events.testing.memory.held_back import hold, lock
from fastapi_events.testing.memory.jobs.kept_run import KeptRun, KeptStep
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.log import MemoryLog


class MemorySteps(StepStore):
    """A ``StepStore`` without a database."""

    def __init__(self, runs: KeptRuns, log: MemoryLog) -> None:
        self._runs, self._events = runs, log

    async def read(self, run_id: UUID) -> dict[str, Any]:
        with lock:
            run, now = self._runs.find(run_id), self._runs.clock.now()
            steps = [] if run is None else sorted(run.steps.values(), key=lambda step: step.record.number)
            return {step.record.name: step.row(now) for step in steps}

    async def record(self, claim: RunClaim, step: StepRecord, execute: Execute | None = None) -> Any | None:
        if execute is not None:
            rows = await execute(partial(self._hold, claim, step))
            return rows[0] if rows else None
        with lock:
            run = self._open(claim, step.name)
            return None if run is None else self._write(run, step)

    async def record_with(self, claim: RunClaim, step: StepRecord, sealed: Sequence[Sealed]) -> Any | None:
        with lock:
            run = self._open(claim, step.name)
            if run is None:
                return None
            self._events.append_now(sealed)  # first: if one of them is refused, nothing of this is recorded
            return self._write(run, step)

    async def progress(self, claim: RunClaim, done: float, total: float | None) -> bool:
        with lock:
            run = self._runs.own(claim)
            if run is not None:
                run.progress = (done, total, self._runs.clock.now())
            return run is not None

    def _hold(self, claim: RunClaim, step: StepRecord, connection: Connection) -> list[dict[str, Any]]:
        with lock:
            if self._open(claim, step.name) is None:
                return []
            hold(connection, self._runs, [partial(self._keep, claim, step)])
        return [{"seconds_left": None}]

    def _keep(self, claim: RunClaim, step: StepRecord) -> None:
        run = self._open(claim, step.name)
        if run is not None:
            self._write(run, step)

    def _open(self, claim: RunClaim, name: str) -> KeptRun | None:
        """The run, if it is this claim's still, and the step is not done."""
        run = self._runs.own(claim)
        done = run is not None and name in run.steps and run.steps[name].record.state == "done"
        return None if done else run

    def _write(self, run: KeptRun, step: StepRecord) -> dict[str, Any]:
        now = self._runs.clock.now()
        due = None if step.delay is None else now + timedelta(seconds=step.delay)
        kept = run.steps[step.name] = KeptStep(step, due, now)
        return kept.row(now)
