"""The schedules that this process has declared: known to the database, and taken over from who is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from fastapi_events.model.job_schedule import JobSchedule
from fastapi_events.model.run_limits import limits_of
from fastapi_events.store.job_schedules import JobScheduleStore, ScheduleRow


class Schedules:
    """Registers schedules. Several releases may declare one differently: who has started last and still lives, wins."""

    def __init__(
        self, store: JobScheduleStore, declared: Iterable[JobSchedule], *, worker: UUID, max_size: int
    ) -> None:
        self.store = store
        self._declared, self._worker, self._max_size = list(declared), worker, max_size
        self._rows: list[ScheduleRow] = []
        self._group_id = 0
        self.ids: list[int] = []
        """The numbers that the database has for them; none before they are registered."""

    async def register(self, group_id: int, number: Callable[[str], int]) -> None:
        """Make them known; ``number`` gives the number of a job."""
        self._group_id = group_id
        self._rows = [self._row(schedule, number(schedule.job.name)) for schedule in self._declared]
        await self._take(orphans=False)

    async def adopt(self) -> None:
        """Declare those anew whose last declarer is there no more: its rule may have been another one."""
        await self._take(orphans=True)

    async def _take(self, *, orphans: bool) -> None:
        found = await self.store.register(self._group_id, self._rows, self._worker, orphans=orphans)
        self.ids = sorted(found.values())

    def _row(self, schedule: JobSchedule, job_id: int) -> ScheduleRow:
        job, text = schedule.job, schedule.job.dump_input(schedule.input, max_size=self._max_size)
        return ScheduleRow(
            schedule.name, schedule.was, job_id, schedule.rule, schedule.missed, text, job.priority,
            job.scope_of(schedule.input), limits_of(job, schedule.input, text, None),
        )  # fmt: skip
