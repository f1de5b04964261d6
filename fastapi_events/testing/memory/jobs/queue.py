"""The queue of runs in memory: claiming, settling, and what is made ready when its time has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from fastapi_events.model.run_start import Sealed
from fastapi_events.store.canceled_runs import EndedCanceled
from fastapi_events.store.run_completion import RunCompletion
from fastapi_events.store.runs import ANY_CRASHES, DueNext, Renewed, RunClaim, RunQueue, RunResult, Settled
from fastapi_events.store.steps import Execute
from fastapi_events.testing.memory.held_back import hold, lock
from fastapi_events.testing.memory.jobs.kept_run import KeptEnd, KeptRun
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.schedules import MemorySchedules
from fastapi_events.testing.memory.log import MemoryLog


class MemoryRunQueue(RunQueue):
    """A ``RunQueue`` without a database. There is one process, so nothing is ever taken over from another one."""

    def __init__(self, runs: KeptRuns, log: MemoryLog, schedules: MemorySchedules) -> None:
        self._runs, self._events, self._schedules = runs, log, schedules

    async def claim(self, rooms: Mapping[int, int], limit: int, crashes: int = ANY_CRASHES) -> list[Any]:  # noqa: ARG002 - no process vanishes
        with lock:
            left = dict(rooms)
            chosen: list[KeptRun] = []
            ready = [run for run in self._runs.queued() if run.place == "r" and left.get(run.start.job_id, 0)]
            for run in sorted(ready, key=lambda run: (-run.start.priority, run.number)):
                if len(chosen) < limit and left[run.start.job_id]:
                    left[run.start.job_id] -= 1
                    chosen.append(run)
            return [self._claimed(run) for run in chosen]

    def _claimed(self, run: KeptRun) -> dict[str, Any]:
        run.place, run.token = "x", self._runs.draw_token()
        self._runs.let_go_of_key(run)
        return run.claimed_row(self._runs.clock.ahead)

    async def settle(self, results: Sequence[RunResult]) -> Settled:
        with lock:
            recorded = {result.claim for result in sorted(results, key=_in_order) if self._settle(result)}
            canceled = any(run.cancel_reason and run.place != "x" for run in self._runs.queued())
            return Settled(recorded, set(), canceled)

    def _settle(self, result: RunResult) -> bool:
        run = self._runs.own(result.claim)
        if run is None:
            return False
        if result.children:
            self._append(result.children)  # first: if one of them is refused, nothing of this is recorded
        now = self._runs.clock.now()
        run.history += [record | {"finished_at": now} for record in result.records]
        if result.state is None:
            _put_down(run, result, now)
        else:
            self._runs.end_run(run, _end_of(result, result.state, now))
        return True

    def _append(self, children: Sequence[Sealed]) -> None:
        self._events.append_now(children)

    async def renew(self, claims: Sequence[RunClaim]) -> Renewed:
        with lock:
            kept = {claim: run.cancel_reason for claim in claims if (run := self._runs.own(claim)) is not None}
            return Renewed(kept, set())

    async def release(self, claims: Sequence[RunClaim]) -> None:
        with lock:
            for claim in claims:
                if (run := self._runs.own(claim)) is not None:
                    run.place = "r"

    async def promote(self, look_back: float | None) -> int:  # noqa: ARG002 - nothing is hard to find here
        with lock:
            now = self._runs.clock.now()
            due = [run for run in self._runs.queued() if run.due_at is not None and run.due_at <= now]
            for run in due:
                run.come()
            return len(due)

    async def end_canceled(self) -> EndedCanceled:
        with lock:
            return EndedCanceled(self._runs.end_canceled(), held_up=False)

    async def next_due(self, look_back: float | None, schedules: Sequence[int]) -> DueNext:  # noqa: ARG002
        with lock:
            now = self._runs.clock.now()
            due = min((run.due_at for run in self._runs.queued() if run.due_at is not None), default=None)
            seconds = None if due is None else (due - now).total_seconds()
            return DueNext(seconds is not None and seconds <= 0, seconds, self._schedules.next_tick(schedules))


class MemoryCompletion(RunCompletion):
    """Ends a run with the commit of the session that its job was given."""

    def __init__(self, runs: KeptRuns) -> None:
        self._runs = runs

    async def complete(
        self, execute: Execute, claim: RunClaim, result: str | None, *, attempts: int, duration: float, keep: float,
        related: bool,  # noqa: ARG002 - nobody is in the way here
    ) -> bool:  # fmt: skip
        return bool(await execute(partial(self._hold, claim, result, attempts, duration, keep)))

    def _hold(
        self, claim: RunClaim, value: str | None, attempts: int, duration: float, keep: float, connection: Connection
    ) -> list[UUID]:  # fmt: skip
        run = self._runs.own(claim)
        if run is None:
            return []
        result = RunResult(
            claim, run.start.job_id, run.redrives, "completed", attempts, value, keep=keep, duration=duration
        )
        hold(connection, self._runs, [partial(self._end, result)])
        return [run.id]

    def _end(self, result: RunResult) -> None:
        run = self._runs.own(result.claim)
        if run is not None:
            self._runs.end_run(run, _end_of(result, "completed", self._runs.clock.now()))


def _in_order(result: RunResult) -> tuple[bool, RunClaim]:
    """One that ends may be the child of one that goes to wait for it."""
    return result.state is None, result.claim


def _end_of(result: RunResult, state: str, now: datetime) -> KeptEnd:
    return KeptEnd(
        state, now, result.attempts, result.reason, result.note, result.result, result.error_type,
        result.error_message, result.fingerprint, result.duration,
        now + timedelta(seconds=result.keep) if state == "completed" else None,
    )  # fmt: skip


def _put_down(run: KeptRun, result: RunResult, now: datetime) -> None:
    """Its attempt is over, or it is suspended: it waits for news, for its time, or for its turn."""
    run.token, run.resumed, run.wakes, run.attempts = 0, True, result.wakes, result.attempts
    run.lapsed = run.lapsed or result.in_doubt
    run.postponed = run.postponed + 1 if result.unspent else 0
    run.holds = run.holds and result.holds
    run.come()
    waits = result.seen is not None and run.news <= result.seen and run.cancel_reason is None
    later = result.delay > 0 and (waits or result.seen is None)
    if waits or later:
        run.place, run.gate = "w" if waits else "t", None
    if later:
        run.due_at = now + timedelta(seconds=result.delay)
