"""Everything that runs jobs in one process: made from settings, started and stopped as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from fastapi_events.engine.chain import Runs
from fastapi_events.engine.jobs.admission import Admission, GateTending
from fastapi_events.engine.jobs.alone import Alone
from fastapi_events.engine.jobs.due_runs import DueRuns
from fastapi_events.engine.jobs.event_waits import EventWaits
from fastapi_events.engine.jobs.leases import RunLeases
from fastapi_events.engine.jobs.log_keeping import LogKeeping
from fastapi_events.engine.jobs.lookout import Lookout
from fastapi_events.engine.jobs.pool import JobPool
from fastapi_events.engine.jobs.ready_job import JobPlan
from fastapi_events.engine.jobs.schedules import Schedules
from fastapi_events.engine.jobs.settling import Settling
from fastapi_events.engine.jobs.ticking import Ticking
from fastapi_events.engine.pool_numbers import PoolNumbers
from fastapi_events.engine.wake import Wake
from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.model.run_start import CANCELED, RUNS
from fastapi_events.settings import EventsSettings
from fastapi_events.store.job_stores import JobStores
from fastapi_events.store.runs import RunClaim


class JobWork:
    """Pools, and what serves them all. Nothing of it runs until ``start``; ``drain`` needs no start."""

    def __init__(
        self, settings: EventsSettings, stores: JobStores, plan: JobPlan, executor: Runs, schedules: Schedules,
        wake: Wake, logs: LogKeeping, numbers: PoolNumbers, *, poll_interval: Callable[[], float],
        published: Callable[[Collection[LogPlace]], None], ready: Callable[[], None], lost: Callable[[int], None],
        scheduled: Callable[[float | None], None],
    ) -> None:  # fmt: skip
        queue, gates = stores.queue, stores.gates
        self._settling = Settling(queue, logs, settled=self._settled, published=published, ready=ready, lost=lost)
        admission = Admission(gates, ready)
        alone = Alone(queue, stores.doubt, settings.max_crashes, freed=self.look)
        self.pools: list[JobPool] = []
        wake.runs.pools.clear()
        for name in plan.pools if settings.pools is None else [name for name in settings.pools if name in plan.pools]:
            flag = asyncio.Event()
            wake.runs.pools.append(flag)
            self.pools.append(
                JobPool(
                    name, queue, plan, executor, self._settling, admission, alone, flag,
                    concurrency=numbers.of(name), batch_size=settings.batch_size,
                    cancel_grace=settings.shutdown_grace,
                )
            )  # fmt: skip
            numbers.tell(self.pools[-1], name)
        self._leases = RunLeases(queue, self.pools, wake.runs.leases, interval=settings.heartbeat, lost=lost)
        self._ticking = Ticking(schedules, started=published)
        self._due = DueRuns(
            queue, wake.runs, self._ticking, ready=ready, canceled=lambda: published({place_of(RUNS, CANCELED)})
        )
        self._waits = EventWaits(stores.waits, wake, ready=ready)
        self._tending = GateTending(gates, plan, admission, poll_interval=poll_interval, ready=ready)
        self._logs = logs
        self._lookout = Lookout(
            stores.work, self.pools, due=self._due, waits=self._waits, ticking=self._ticking, admission=admission,
            gates=self._tending, scheduled=scheduled, poll_interval=poll_interval,
        )  # fmt: skip
        self._serving = (
            logs, self._settling, self._leases, self._ticking, self._due, self._waits, self._tending, self._lookout,
        )  # fmt: skip
        self.started = False

    async def start(self) -> None:
        """Begin to claim."""
        self.started = True
        for loop in (*self._serving, *self.pools):
            await loop.start()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, let what runs finish for ``grace`` seconds, record it, and give back the rest."""
        await asyncio.gather(*(pool.stop(grace) for pool in self.pools))
        if self.started:
            await asyncio.wait({asyncio.create_task(self._settling.flushed())}, timeout=5)
        for run in [run for pool in self.pools for run in pool.in_hand.values()]:
            for recording in list(run.recording):
                recording.cancel()  # the lease runs out, and its next attempt is told that nobody knows
        for loop in self._serving:
            await loop.stop()

    async def recover(self) -> None:
        """Have every loop look everywhere next."""
        for loop in (*self._serving, *self.pools):
            await loop.recover()

    async def drain(self, at_once: int | None = None) -> int:
        """Run what is ready or due now, until nothing is; returns the number of attempts.

        ``at_once`` is how many of a pool's runs are claimed together at most: with 1, each begins when the one before
        has ended and is recorded.
        """
        begun = not self.started
        if begun:
            await self._settling.start()
            await self._logs.start()
            await self._leases.start()
        made = 0
        try:
            if begun:
                self._tending.call((await self._lookout.look()).gated)
                await self._tending.tend()
            while count := await self._round(at_once):
                made += count
        finally:
            if begun:
                await self._settling.stop()
                await self._logs.stop()
                await self._leases.stop()
        return made

    async def _round(self, at_once: int | None) -> int:
        await self._ticking.look()
        found = await self._waits.look() + await self._due.promote(full=True)
        return found + sum([await pool.drain(at_once) for pool in self.pools])

    def look(self) -> None:
        """Runs may be there to be claimed that were none before."""
        for pool in self.pools:
            pool.look()

    def _settled(self, claims: Collection[RunClaim]) -> None:
        for pool in self.pools:
            for claim in claims:
                pool.forget(claim)
