"""What operators do to runs and jobs, on memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.errors import NotFound
from fastapi_events.model.edited_input import EditedInput
from fastapi_events.model.identity import new_id
from fastapi_events.model.job import ReplayFrom
from fastapi_events.model.run_failing import NO_REASON
from fastapi_events.store.dead_letters import Tenants
from fastapi_events.store.redrives import Anew, Conflict, conflict_of
from fastapi_events.store.run_actions import Edit, RunAct, RunActionStore
from fastapi_events.testing.memory.held_back import lock
from fastapi_events.testing.memory.jobs.anew import asked_of, begin_anew, decide
from fastapi_events.testing.memory.jobs.kept_run import KeptEnd, KeptRun
from fastapi_events.testing.memory.jobs.readings import forget_steps
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.schedules import Record


class MemoryRunActions(RunActionStore):
    """A ``RunActionStore`` without a database; there is one group."""

    def __init__(self, runs: KeptRuns, record: Record) -> None:
        self._runs, self._note = runs, record

    async def cancel(self, group: int, act: RunAct) -> list[UUID]:  # noqa: ARG002
        with lock:
            waiting = [run for run in self._given(act) if run.end is None]
            for run in waiting:
                self._runs.cancel(run, act.reason or NO_REASON)
            return self._noted(act, [run.id for run in waiting])

    async def retry(self, group: int, act: RunAct) -> Anew:  # noqa: ARG002
        with lock:
            return self._told(act, begin_anew(self._runs, self._ended(act, completed=False)))

    async def discard(self, group: int, act: RunAct) -> list[UUID]:  # noqa: ARG002
        with lock:
            dead = [(run, run.end) for run in self._given(act) if run.end is not None and _is_dead(run.end)]
            for run, end in dead:
                run.end = replace(end, discarded=True, note=act.reason)
            return self._noted(act, [run.id for run, _ in dead])

    async def replay(self, group: int, act: RunAct, starts: Mapping[UUID, ReplayFrom]) -> Anew:  # noqa: ARG002
        with lock:
            anew = begin_anew(self._runs, self._ended(act, completed=True))
            for run_id in anew.begun:
                forget_steps(self._seen(run_id, None), starts[run_id])
            return self._told(act, anew)

    async def edit(self, group: int, act: RunAct, edit: Edit, start: ReplayFrom | None) -> bool:  # noqa: ARG002
        with lock:
            ended = self._ended(act, completed=False)
            for run in ended:
                self._edit(run, edit(_given(run)), act.actor)
                if start is not None:
                    forget_steps(run, start)
            self._noted(act, [run.id for run in ended])
            return bool(ended)

    def _edit(self, run: KeptRun, given: EditedInput, actor: str) -> None:
        asked = asked_of(run)._replace(limits=given.asked)
        decide(self._runs, [asked])
        if asked.is_duplicate:
            raise conflict_of(asked).error()
        facts = {"action_id": new_id(), "edited_at": self._runs.clock.now(), "input": run.input}
        run.edits.append(facts | {"actor": actor})
        if given.freed_key is not None:
            self._runs.let_go(run, given.freed_key)
        scope, scope_id = given.scope or (None, None)
        run.input = given.text
        run.start = run.start._replace(input=given.text, scope=scope, scope_id=scope_id, limits=given.limits)
        self._runs.begin_anew(run, asked)

    async def matching(
        self, jobs: Sequence[int], states: Sequence[str], *, until: datetime, limit: int, tenants: Tenants
    ) -> list[UUID]:
        with lock:
            ended = [
                (run.end.finished_at, run.number, run.id)
                for run in self._runs.all()
                if run.start.job_id in jobs
                and run.end is not None
                and run.end.state in states
                and run.end.finished_at < until
                and (tenants is None or run.start.tenant_id in tenants)
            ]
            return [run_id for _, _, run_id in sorted(ended)[:limit]]

    async def jobs(self, group: int) -> list[Any]:  # noqa: ARG002
        return [{"id": job.id, "name": job.name, "former_names": job.former_names} for job in self._runs.jobs]

    async def jobs_of(self, group: int, ids: Sequence[UUID], tenants: Tenants) -> dict[UUID, str]:  # noqa: ARG002
        with lock:
            found = [self._seen(run_id, tenants) for run_id in ids]
            return {run.id: self._runs.job_name(run.start.job_id) for run in found}

    async def pause(self, group: int, name: str, *, paused: bool, actor: str, reason: str) -> bool | None:  # noqa: ARG002
        job = next((job for job in self._runs.jobs if job.name == name), None)
        if job is None:
            return None
        self._runs.jobs = [replace(one, paused=paused) if one is job else one for one in self._runs.jobs]
        changed = job.paused != paused
        action = "pause_job" if paused else "resume_job"
        self._note(action, actor, name, {"reason": reason, "changed": changed}, ())
        return changed

    def _given(self, act: RunAct) -> list[KeptRun]:
        return [self._seen(run_id, act.tenants) for run_id in act.ids]

    def _seen(self, run_id: UUID, tenants: Tenants) -> KeptRun:
        run = self._runs.find(run_id)
        if run is None or (tenants is not None and run.start.tenant_id not in tenants):
            raise NotFound(f"There is no run {run_id}. Nothing was changed.")
        return run

    def _ended(self, act: RunAct, *, completed: bool) -> list[KeptRun]:
        given = self._given(act)
        return [run for run in given if run.end is not None and (completed or run.end.state != "completed")]

    def _told(self, act: RunAct, anew: Anew) -> Anew:
        self._noted(act, anew.begun, anew.conflicts)
        return anew

    def _noted(self, act: RunAct, changed: Sequence[UUID], conflicts: Sequence[Conflict] = ()) -> list[UUID]:
        ids = sorted(changed)
        facts = {**act.details, "reason": act.reason, "asked": len(act.ids), "changed": [str(one) for one in ids]}
        if conflicts:
            facts["conflicts"] = {str(one.run): str(one.rival) for one in conflicts}
        target = str(act.ids[0]) if len(act.ids) == 1 else f"{len(act.ids)} runs"
        tenants = [run.start.tenant_id or "" for run in self._given(act)]
        self._note(act.action, act.actor, target, json.loads(json.dumps(facts, default=str)), tenants)
        return ids


def _is_dead(end: KeptEnd) -> bool:
    return end.state in ("failed", "timed_out") and not end.discarded


def _given(run: KeptRun) -> dict[str, Any]:
    """What an edit looks at."""
    start, limits = run.start, run.start.limits
    window_key = limits.dedupe_key if limits is not None and limits.window is not None else None
    return {
        "input": run.input, "scope": start.scope, "scope_id": start.scope_id, "window_key": window_key,
        "tenant_id": start.tenant_id,
    }  # fmt: skip
