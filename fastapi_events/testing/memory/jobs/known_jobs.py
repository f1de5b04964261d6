"""The jobs of an instance as memory knows them: numbers outlive restarts and renames, as long as memory is kept."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi_events.store.jobs import JobRow, JobStore, KnownJob
from fastapi_events.store.renames import former_names, rows_of, rows_to_take
from fastapi_events.testing.memory.jobs.runs import KeptRuns


class MemoryJobs(JobStore):
    """A ``JobStore`` without a database; there is one group."""

    def __init__(self, runs: KeptRuns) -> None:
        self._runs = runs

    async def register(self, group_id: int, jobs: Iterable[JobRow]) -> dict[str, KnownJob]:  # noqa: ARG002
        given = {job.name: job for job in jobs}
        taken = rows_to_take({job.name: job.was for job in given.values()}, self._runs.jobs)
        for job in given.values():
            row = taken.get(job.name)
            name, former = former_names(job.name, job.was, row) if row is not None else (job.name, list(job.was))
            number = len(self._runs.jobs) + 1 if row is None else row.id
            known = KnownJob(number, name, tuple(former), job.pool, paused=row is not None and row.paused)
            self._runs.announcing.discard(number)
            self._runs.announcing |= {number} if job.announces else set()
            self._runs.jobs = [*(one for one in self._runs.jobs if one.id != number), known]
        return rows_of(given, self._runs.jobs)

    async def known(self, group_id: int, names: Iterable[str]) -> dict[str, KnownJob]:  # noqa: ARG002
        return rows_of(names, self._runs.jobs)
