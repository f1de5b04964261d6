"""What there is to do about jobs, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fastapi_events.store.doubt import Doubt
from fastapi_events.store.work import Work, WorkStore
from fastapi_events.testing.memory.held_back import lock
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.schedules import MemorySchedules


class MemoryDoubt(Doubt):
    """A ``Doubt`` where no process vanishes that others would outlive."""

    def __init__(self) -> None:
        """There is nothing to ask."""

    async def accidents(self, crashes: Collection[int], limit: int) -> int:  # noqa: ARG002
        return 0


class MemoryWork(WorkStore):
    """A ``WorkStore`` without a database: a hint, as that one's answers are."""

    def __init__(self, runs: KeptRuns, schedules: MemorySchedules) -> None:
        self._runs, self._schedules = runs, schedules

    async def find(self, jobs: Sequence[int], limited: Sequence[int], schedules: Sequence[int]) -> Work:
        with lock:
            queued, now = list(self._runs.queued()), self._runs.clock.now()
            due = min((run.due_at for run in queued if run.due_at is not None), default=None)
            ready = {run.start.job_id for run in queued if run.place == "r"} & {*jobs}
            gated = {run.start.job_id for run in queued if run.place == "g"}
            awaited = frozenset(place for run in queued for wait in run.waits.values() for place in wait.places)
            return Work(
                due=None if due is None else (due - now).total_seconds(), scheduled=None,
                tick=self._schedules.next_tick(schedules),
                canceled=any(run.cancel_reason is not None and run.place != "x" for run in queued),
                gated=frozenset(gated & {*jobs}),
                ready=frozenset(ready | (gated & {*limited})), awaited=awaited, met=bool(awaited),
            )  # fmt: skip
