"""Making runs ready whose time has come: starts in the future, back-offs, leases of processes that have vanished."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from fastapi_events.engine.jobs.ticking import Ticking
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import RunsFlag, wait_for_flag
from fastapi_events.store.runs import PROMOTED_AT_ONCE, RunQueue

LOOK_BACK = 2.0
"""Seconds that a quick search looks back behind the last one that left nothing: what was due before has gone, and only
leaves dead index entries behind. A full search each poll interval finds the stragglers."""
SHORTEST_WAIT = 0.01
"""Seconds until the next search after one that found nothing although something is due: somebody has its row locked."""


class DueRuns(Loop):
    """Any process does it for all jobs of all groups."""

    name = "due runs"

    def __init__(
        self, queue: RunQueue, flag: RunsFlag, ticking: Ticking, *, poll_interval: Callable[[], float],
        ready: Callable[[], None], canceled: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._queue, self._flag, self._ticking, self._poll_interval = queue, flag, ticking, poll_interval
        self._ready, self._canceled = ready, canceled
        self._next_full_search = self._caught_up = 0.0
        self._next_due: float | None = 0.0

    def interrupt(self) -> None:
        self._flag.due.set()

    async def recover(self) -> None:
        """Search everywhere next."""
        self._next_full_search, self._next_due = 0.0, 0.0

    async def turn(self) -> None:
        wait = self._poll_interval() if self._next_due is None else min(self._next_due, self._poll_interval())
        await wait_for_flag(self._flag.due, max(wait, 0.0))
        if not self.stopping.is_set():
            await self.promote()

    async def promote(self, *, full: bool = False) -> int:
        """Once; returns how many runs were made ready."""
        now = asyncio.get_running_loop().time()
        full = full or now >= self._next_full_search
        look_back = None if full else now - self._caught_up + LOOK_BACK
        if full:
            self._next_full_search = now + self._poll_interval() * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        if self._flag.cancels or full:
            self._flag.cancels = False
            if await self._queue.end_canceled():
                self._ready()  # of those that waited for them
                self._canceled()  # some that are at work have been told
        count = await self._queue.promote(look_back)
        if count:
            self._ready()
        if count == PROMOTED_AT_ONCE:
            self._next_due = 0.0
            return count
        self._caught_up = now
        due, tick = await self._queue.next_due(look_back, self._ticking.ids)
        self._ticking.expect(tick)
        self._next_due = None if due is None else max(due, SHORTEST_WAIT)
        return count
