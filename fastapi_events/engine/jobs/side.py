"""The jobs of one instance in one process: known to the database, startable, and run where that is wanted."""

from __future__ import annotations

from collections.abc import Callable

from fastapi_events.engine.jobs.ready_job import JobPlan
from fastapi_events.engine.jobs.schedules import Schedules
from fastapi_events.engine.jobs.work import JobWork
from fastapi_events.errors import UnknownJob
from fastapi_events.store.job_stores import JobStores
from fastapi_events.store.jobs import JobRow


class JobSide:
    """What an instance has to do with jobs. ``make_work`` makes what runs them."""

    def __init__(
        self, plan: JobPlan, schedules: Schedules, stores: JobStores, make_work: Callable[[], JobWork]
    ) -> None:  # fmt: skip
        self.plan, self.schedules, self.readings = plan, schedules, stores.readings
        self._store, self._make_work = stores.jobs, make_work
        self.numbers: dict[str, int] = {}
        self.work: JobWork | None = None
        self._group_id = self._revision = 0

    async def register(self, group_id: int) -> None:
        """Make the jobs known to the database: from then on they can be started."""
        self._group_id = group_id
        rows = [JobRow(ready.id, ready.job.pool, ready.job.was, ready.announces) for ready in self.plan.jobs.values()]
        for name, known in (await self._store.register(group_id, rows)).items():
            ready = self.plan.jobs[name]
            ready.number, ready.paused = known.id, known.paused
            self.plan.by_number[known.id] = ready
            self.numbers[name] = known.id
            self._revision = max(self._revision, known.revision)
        await self.schedules.register(group_id, self.number)

    async def start(self, *, works: bool) -> None:
        """Begin to run jobs if this process does."""
        if works and self.plan.jobs:
            self.work = self._make_work()
            await self.work.start()

    async def revised(self, newest: int) -> None:
        """Which revision of the group's jobs is the newest: read anew what is paused if another one is known here."""
        if newest == self._revision or not self.plan.by_number:
            return
        known = await self._store.known(self._group_id, self.plan.jobs)
        for name, job in known.items():
            self.plan.jobs[name].paused = job.paused
        self._revision = newest
        if self.work is not None:
            self.work.look()

    @property
    def runs(self) -> list[int]:
        """The numbers of the jobs that this process runs."""
        pools = self.concurrency
        return sorted(job.number for job in self.plan.by_number.values() if job.job.pool in pools)

    @property
    def concurrency(self) -> dict[str, int]:
        """How many runs this process has at work at once, by pool; empty where it runs none."""
        work = self.work
        return {pool.pool: pool.concurrency for pool in work.pools} if work is not None and work.started else {}

    async def stop(self, grace: float) -> None:
        """Run nothing more."""
        if self.work is not None:
            await self.work.stop(grace)

    async def recover(self) -> None:
        """Look everywhere next: moments that were believed to be known are not."""
        if self.work is not None:
            await self.work.recover()

    async def drain(self, at_once: int | None = None) -> int:
        """Run what is ready or due, ``at_once`` of a pool at most, until nothing is; returns the number of attempts."""
        if not self.plan.jobs:
            return 0
        if self.work is None:
            self.work = self._make_work()
        return await self.work.drain(at_once)

    def number(self, name: str) -> int:
        """The number that the database has for a job; raises ``UnknownJob``."""
        number = self.numbers.get(name)
        if number is None:
            raise UnknownJob(
                f"job {name!r} belongs to no module of this application, so nothing would ever run it. Put its module "
                "into Events(modules=[...])."
            )
        return number
