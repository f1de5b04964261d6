"""Places for attempts that need something scarce: a connection, or a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Collection


class Slot:
    """A place that an attempt has taken."""

    __slots__ = ("_semaphores",)

    def __init__(self, *semaphores: asyncio.Semaphore) -> None:
        self._semaphores = semaphores

    def release(self) -> None:
        """Give the place back; idempotent, so that an attempt which is given up need not wait for its handler's end."""
        semaphores, self._semaphores = self._semaphores, ()
        for semaphore in semaphores:
            semaphore.release()


class Slots:
    """So many places; who comes later waits in line.

    A part is kept for each lane: handlers of one that hang may take what is left, not what the others need to go on.
    """

    def __init__(self, count: int, lanes: Collection[int]) -> None:
        others = max(len(lanes) - 1, 0)
        kept = count // (len(lanes) + 1)
        self._all = asyncio.Semaphore(count)
        self._by_lane = {lane: asyncio.Semaphore(count - kept * others) for lane in lanes}

    async def take(self, lane: int) -> Slot:
        """Wait for a place."""
        own = self._by_lane.get(lane)
        if own is None:
            await self._all.acquire()
            return Slot(self._all)
        await own.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            own.release()
            raise
        return Slot(self._all, own)
