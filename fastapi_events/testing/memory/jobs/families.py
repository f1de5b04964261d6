"""Runs that spawn runs, in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi_events.model.run_failing import problem_of
from fastapi_events.model.run_start import RunStart
from fastapi_events.store.families import FamilyStore, refuse_stand_in
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.steps import StepRecord
from fastapi_events.testing.memory.held_back import lock
from fastapi_events.testing.memory.jobs.kept_run import KeptStep
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.starting import start_runs


class MemoryFamilies(FamilyStore):
    """A ``FamilyStore`` without a database."""

    def __init__(self, runs: KeptRuns) -> None:
        self._kept = runs

    async def spawn(self, claim: RunClaim, child: RunStart, name: str, number: int, given: str) -> bool:
        with lock:
            run = self._kept.own(claim)
            if run is None:
                return False
            start_runs(self._kept, [child])
            refuse_stand_in(child)
            kept = json.dumps({"run": str(child.id), "input": given})
            record = StepRecord(name, number, "spawn", "done", child.name, kept)
            run.steps[name] = KeptStep(record, None, self._kept.clock.now())
            run.children, run.news, run.has_family = run.children + 1, run.news + 1, True
            return True

    async def children(self, parent: UUID, children: Sequence[UUID]) -> list[Any]:
        with lock:
            above = self._kept.find(parent)
            news = None if above is None else above.news
            return [self._standing(one, news) for one in children]

    def _standing(self, run_id: UUID, news: int | None) -> dict[str, Any]:
        run = self._kept.find(run_id)
        end = None if run is None else run.end
        problem = None if end is None else problem_of(end.error_type, end.error_message, end.note, end.reason)
        state, result = (None, None) if end is None else (end.state, end.result)
        return {"news": news, "id": run_id, "state": state, "result": result, "problem": problem, "gone": run is None}

    async def same_ancestor(self, parent: UUID, child: RunStart) -> UUID | None:
        with lock:
            run, wanted = self._kept.find(parent), json.loads(child.input)
            while run is not None:
                if run.start.job_id == child.job_id and json.loads(run.input) == wanted:
                    return run.id
                above = run.start.parent_id
                run = None if above is None else self._kept.find(above)
        return None

    async def holders_above(self, parent: UUID, child: RunStart) -> list[UUID]:
        key, found = child.limits.limit_key if child.limits is not None else None, list[UUID]()
        with lock:
            run = None if key is None else self._kept.find(parent)
            while run is not None:
                if run.holds and run.end is None and (run.start.job_id, run.limit_key) == (child.job_id, key):
                    found.append(run.id)
                above = None if run.start.on_parent_close == "abandon" else run.start.parent_id
                run = None if above is None else self._kept.find(above)
        return found
