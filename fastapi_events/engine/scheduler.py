"""Moving scheduled events to the log when their time has come.

It sleeps until the next event is due. Whoever schedules one tells how soon, by the hint that also announces events
(``model.schedule.schedule_place``), and only what is due earlier makes this process look; a look each poll interval is
the net, its own or that of somebody who tells (``told``).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Collection

from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import LaneFlag, Pace, wait_for_flag
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.schedule import seconds_until
from fastapi_events.store.schedule import ScheduleStore

BATCH = 500
"""Events that one statement appends at most."""
LOOK_BACK = 30.0
"""Seconds that a quick look goes back behind now. What became due before that has been appended, and only leaves dead
index entries behind; a full look each poll interval finds what was committed later than this."""
FIRST_RETRY = 0.05
"""Seconds until the next try after one that appended nothing though an event is due: another process is at it, or the
event is being cancelled. Doubled each time, up to the poll interval."""
SPARED = 1.5
"""Poll intervals until a full look of its own, from when somebody has told: who does so comes back before."""
AT_THE_SAME_TIME = 0.05
"""Seconds by which what is told may come earlier than what is known, and be the same: clocks drift apart."""


class Scheduler(Loop):
    """Appends scheduled events that are due, in bounded batches; any number of processes may run one."""

    name = "scheduler"

    def __init__(
        self, store: ScheduleStore, flag: LaneFlag, *, poll_interval: Callable[[], float],
        committed: Callable[[Collection[LogPlace]], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._store, self._flag, self._poll_interval, self._committed = store, flag, poll_interval, committed
        self._next_due = self._next_full_look = 0.0
        self._retry = FIRST_RETRY
        self._now = asyncio.get_running_loop().time
        self._pace = Pace()
        self._one_at_a_time = asyncio.Lock()

    def interrupt(self) -> None:
        self._flag.set()

    async def turn(self) -> None:
        if self._pace.pause:
            await self._pause(self._pace.pause)
        began = self._now()
        called = await wait_for_flag(self._flag, max(min(self._next_due, self._next_full_look) - began, 0.0))
        hints = self._flag.take()
        if self.stopping.is_set():
            return
        if called and hints is not None:
            soonest = min(map(seconds_until, hints), default=0.0)
            self._next_due = min(self._next_due, self._now() + soonest)
        everywhere = called and hints is None
        if everywhere or min(self._next_due, self._next_full_look) <= self._now():
            self._pace.note(waited=self._now() - began, found=await self.move())

    def told(self, seconds: float | None) -> None:
        """Somebody has asked the database, for all of it: the next event is due that soon, if there is one."""
        self._next_full_look = self._now() + SPARED * self._poll_interval()
        if seconds is None or self._now() + seconds >= self._next_due - AT_THE_SAME_TIME:
            return
        self._next_due = self._now() + seconds
        if seconds <= 0:
            self._next_full_look = self._now()
        self._flag.set()

    async def move(self, *, full: bool = False) -> int:
        """Append what is due until nothing is; returns the number of events."""
        async with self._one_at_a_time:  # a call by hand beside the loop
            return await self._move(full)

    async def recover(self) -> None:
        """After a failure look again at once: the pause has been made."""
        self._next_due = self._next_full_look = 0.0

    async def _move(self, full: bool) -> int:
        full = full or self._now() >= self._next_full_look
        look_back = None if full else LOOK_BACK
        self._next_due = math.inf  # what is told while this looks is heard all the same
        moved = 0
        seconds = await self._store.next_due(look_back)
        while seconds is not None and seconds <= 0 and not self.stopping.is_set():
            places = await self._store.append_due(BATCH, look_back)
            if not places:
                break
            moved += len(places)
            self._committed(set(places))
            seconds = await self._store.next_due(look_back)
        self._plan_next_look(self._now(), seconds, full=full, moved=moved)
        return moved

    def _plan_next_look(self, now: float, seconds: float | None, *, full: bool, moved: int) -> None:
        interval = self._poll_interval() * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        if full:
            self._next_full_look = now + interval
        if seconds is not None and seconds <= 0:
            self._retry = FIRST_RETRY if moved else min(self._retry * 2, interval)
            seconds = self._retry
        else:
            self._retry = FIRST_RETRY
        if seconds is not None:
            self._next_due = min(self._next_due, now + seconds)
