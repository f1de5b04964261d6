"""Polling: one question each poll interval for everything that a process does about jobs.

Whoever does something sleeps until a notification or this wakes it, and asks the database for nothing before. What is
told is a hint, and may be over when it arrives: who is woken looks for itself. A flag is set and never cleared here,
and whoever waits for one clears it before it asks, so that nothing that is told in between is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from fastapi_events.engine.jobs.admission import Admission, GateTending
from fastapi_events.engine.jobs.due_runs import DueRuns
from fastapi_events.engine.jobs.event_waits import EventWaits
from fastapi_events.engine.jobs.pool import JobPool
from fastapi_events.engine.jobs.ticking import Ticking
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.store.work import Work, WorkStore


class Lookout(Loop):
    """Tells pools, and whatever serves them, what there is to do. ``scheduled`` is told when the next event is due."""

    name = "lookout for runs"

    def __init__(
        self, store: WorkStore, pools: Sequence[JobPool], *, due: DueRuns, waits: EventWaits, ticking: Ticking,
        admission: Admission, gates: GateTending, scheduled: Callable[[float | None], None],
        poll_interval: Callable[[], float],
    ) -> None:  # fmt: skip
        super().__init__()
        self._store, self._pools, self._poll_interval = store, pools, poll_interval
        self._due, self._waits, self._ticking, self._admission, self._gates = due, waits, ticking, admission, gates
        self._scheduled = scheduled
        self._flag = asyncio.Event()
        self._flag.set()  # nobody has looked yet

    def interrupt(self) -> None:
        self._flag.set()

    async def recover(self) -> None:
        """Look at once: the pause has been made."""
        self._flag.set()

    async def turn(self) -> None:
        wait = self._poll_interval() * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        await wait_for_flag(self._flag, wait)
        if not self.stopping.is_set():
            self.tell(await self.look())

    async def look(self) -> Work:
        """Ask once."""
        jobs = [job for pool in self._pools for job in pool.jobs]
        limited = [job.number for job in jobs if self._admission.concerns(job)]
        return await self._store.find([job.number for job in jobs], limited, self._ticking.ids)

    def tell(self, found: Work) -> None:
        """Wake whom it concerns."""
        for pool in self._pools:
            if not found.ready.isdisjoint(job.number for job in pool.jobs):
                pool.look()
        if found.canceled:
            self._due.canceled()
        self._due.expect(found.due)
        self._ticking.expect(found.tick)
        self._scheduled(found.scheduled)
        self._waits.expect(found.awaited, met=found.met)
        if found.gated:
            self._gates.call(found.gated)
