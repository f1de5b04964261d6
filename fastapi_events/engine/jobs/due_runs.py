"""Making runs ready whose time has come: starts in the future, back-offs, leases of processes that have vanished."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

from fastapi_events.engine.infrastructure import is_held_up
from fastapi_events.engine.jobs.ticking import Ticking
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import RunsFlag, wait_for_flag
from fastapi_events.store.runs import PROMOTED_AT_ONCE, RunQueue

LOOK_BACK = 2.0
"""Seconds that a quick search looks back behind the last one that left nothing: what was due before has gone, and only
leaves dead index entries behind. Stragglers are found by the lookout, whose question is for everything."""
SHORTEST_WAIT = 0.01
"""Seconds until the next search after one that found nothing although something is due: somebody has its row locked."""
LONGEST_LOCKED = 0.5
"""Seconds up to which those double from search to search: it may be a transaction of the application's that has it."""
LONGEST_WAIT = 3600.0
"""Seconds between two searches at most: nobody has told of anything for so long."""
NEVER = math.inf
AT_THE_SAME_TIME = 0.05
"""Seconds by which what is told may come earlier than what is known, and be the same: clocks drift apart."""


class DueRuns(Loop):
    """Any process does it for all jobs of all groups. It sleeps until the next moment that it knows of."""

    name = "due runs"

    def __init__(
        self, queue: RunQueue, flag: RunsFlag, ticking: Ticking, *, ready: Callable[[], None],
        canceled: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._queue, self._flag, self._ticking = queue, flag, ticking
        self._ready, self._canceled = ready, canceled
        self._now = asyncio.get_running_loop().time
        self._caught_up = self._next_look = 0.0
        self._everywhere = True
        self._locked = 0
        """How many searches in a row have found a row locked, and nothing else."""
        self._held_up = 0
        """How many times in a row somebody has held up the end of a run, and none ended."""
        self._cancels_at = NEVER

    def interrupt(self) -> None:
        self._flag.due.set()

    async def recover(self) -> None:
        """Search everywhere next."""
        self._everywhere, self._next_look = True, 0.0
        self.canceled()

    def canceled(self) -> None:
        """Somebody has seen a run that is to be ended, and that nobody runs."""
        self._flag.cancels = True
        self._flag.due.set()

    def expect(self, seconds: float | None) -> None:
        """Somebody has asked the database: the next run is due, or a lease over, that soon."""
        if seconds is None:
            return
        self._everywhere |= seconds <= 0
        if self._now() + seconds < self._next_look - AT_THE_SAME_TIME:
            self._next_look = self._now() + seconds
            self._flag.due.set()

    async def turn(self) -> None:
        await wait_for_flag(self._flag.due, max(self._next_look - self._now(), 0.0))
        if not self.stopping.is_set():
            await self.promote()

    async def promote(self, *, full: bool = False) -> int:
        """Once; returns how many runs were made ready."""
        now = self._now()
        cancels, self._flag.cancels = self._flag.cancels or full, False
        again, self._cancels_at = self._cancels_at, NEVER
        look_back = None if full or self._everywhere else now - self._caught_up + LOOK_BACK
        self._everywhere = False
        self._next_look = now + LONGEST_WAIT  # what is told while this asks is heard all the same
        count = await self._queue.promote(look_back)
        if count:
            self._ready()
        if cancels or again <= now:
            await self._end_canceled()
        else:
            self._end_again_at(again)
        if count == PROMOTED_AT_ONCE:
            self._everywhere, self._next_look = look_back is None, now
            return count
        due = await self._queue.next_due(look_back, self._ticking.ids)
        if due.late:
            self._everywhere |= look_back is None  # what is locked is looked for until it is found
        else:
            self._caught_up = now
        self._ticking.expect(due.tick)
        self._locked = min(self._locked + 1, 9) if due.late and not count else 0
        if due.late:
            self._look_in(min(SHORTEST_WAIT * 2**self._locked, LONGEST_LOCKED))
        if due.seconds is not None:
            self._look_in(max(due.seconds, SHORTEST_WAIT))
        return count

    async def _end_canceled(self) -> None:
        """End what is to be cancelled. What somebody holds up is tried again soon: nobody tells when he lets go."""
        held_up = True
        try:
            ended, held_up = await self._queue.end_canceled()
            if ended:
                self._held_up = 0
                self._ready()  # of those that waited for them
                self._canceled()  # some that are at work have been told
        except Exception as error:
            if not is_held_up(error):
                raise
        self._held_up = min(self._held_up + 1, 9) if held_up else 0
        if held_up:
            pause = min(SHORTEST_WAIT * 2**self._held_up, LONGEST_LOCKED) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            self._end_again_at(self._now() + pause)

    def _end_again_at(self, moment: float) -> None:
        self._cancels_at = moment
        self._next_look = min(self._next_look, moment)

    def _look_in(self, seconds: float) -> None:
        self._next_look = min(self._next_look, self._now() + seconds)
