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
    Jobs, which may take hours, leave half of such a part to each lane, and one place of theirs to steps: whoever has a
    place and waits for a second one gets it in the end, since those that have all the others wait for nothing.
    """

    def __init__(self, count: int, lanes: Collection[int]) -> None:
        others = max(len(lanes) - 1, 0)
        kept = count // (len(lanes) + 1)
        self._all = asyncio.Semaphore(count)
        self._by_lane = {lane: asyncio.Semaphore(count - kept * others) for lane in lanes}
        of_jobs = max(count - max(kept // 2, 1) * len(lanes), min(count, 2))
        self._of_jobs = asyncio.Semaphore(of_jobs)
        self._of_attempts = asyncio.Semaphore(max(of_jobs - 1, 1))
        self.only_one = count == 1
        """Whether nobody who has a place can get a second one."""

    async def take(self, lane: int) -> Slot:
        """Wait for a place."""
        own = self._by_lane.get(lane)
        return await _take(self._all) if own is None else await _take(own, self._all)

    async def take_for_attempt(self) -> Slot:
        """Wait for a place that an attempt at a job keeps to its end, and in which it may wait for another one."""
        return await _take(self._of_attempts, self._of_jobs, self._all)

    async def take_for_step(self) -> Slot:
        """Wait for a place that a step of a job keeps, without waiting for another one in it."""
        return await _take(self._of_jobs, self._all)


async def _take(*semaphores: asyncio.Semaphore) -> Slot:
    taken = list[asyncio.Semaphore]()
    try:
        for semaphore in semaphores:
            await semaphore.acquire()
            taken.append(semaphore)
    except BaseException:
        Slot(*taken).release()
        raise
    return Slot(*semaphores)
