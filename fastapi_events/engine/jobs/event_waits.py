"""Giving events to runs that wait for them, whoever has published those and whatever handles them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import Wake
from fastapi_events.store.waits import Matched, WaitStore

GATHERING = 0.01
"""Seconds between two looks: the first of a burst is made at once."""
LOCKED_PAUSE = 0.5
"""Seconds until the next look, if an event is there for a run that somebody has locked."""


class EventWaits(Loop):
    """Any process does it for all runs. It looks where events are awaited, when there is news from there."""

    name = "waits for events"

    def __init__(self, store: WaitStore, wake: Wake, *, ready: Callable[[], None]) -> None:
        super().__init__()
        self._store, self._wake, self._ready = store, wake, ready
        self._again: float | None = None

    def interrupt(self) -> None:
        self._wake.runs.events.set()

    async def recover(self) -> None:
        """Look everywhere next."""
        self._look_everywhere()

    def expect(self, awaited: Collection[int] | None, *, met: bool) -> None:
        """Somebody has asked the database where events are awaited (None: nobody knows), and if one is there (met)."""
        if met or awaited is None or self._wake.awaited != awaited:
            self._look_everywhere()

    def _look_everywhere(self) -> None:
        self._wake.runs.awaits = True
        self._wake.runs.events.set()

    async def turn(self) -> None:
        flag = self._wake.runs.events
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._again):
                await flag.wait()
        if self._again is not None and self._again <= asyncio.get_running_loop().time():
            self._look_everywhere()
        flag.clear()
        where = flag.take()
        if self.stopping.is_set():
            return
        await self.look(None if self._wake.runs.awaits else where)
        await asyncio.sleep(GATHERING)

    async def look(self, where: Collection[int] | None = None) -> int:
        """Once; everywhere, or where there is news. Returns how many runs go on."""
        places = None if where is None else self._wake.awaited.intersection(where)
        if places is None:
            self._wake.runs.awaits, self._again = False, None
            self._wake.awaited = await self._store.awaited()
            if not self._wake.awaited:
                return 0
        count, held_up = await self._store.match(places) if places is None or places else Matched(0)
        if held_up and self._again is None:  # what is heard from elsewhere meanwhile puts it off no further
            self._again = asyncio.get_running_loop().time() + LOCKED_PAUSE
        if count:
            self._ready()
        return count
