"""Places for attempts that need something scarce: a connection, or a thread."""

from __future__ import annotations

import asyncio


class Slot:
    """A place that an attempt has taken."""

    __slots__ = ("_semaphore",)

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore

    def release(self) -> None:
        """Give the place back; idempotent, so that an attempt which is given up need not wait for its handler's end."""
        semaphore, self._semaphore = self._semaphore, None
        if semaphore is not None:
            semaphore.release()


class Slots:
    """So many places; who comes later waits in line."""

    def __init__(self, count: int) -> None:
        self._semaphore = asyncio.Semaphore(count)

    async def take(self) -> Slot:
        """Wait for a place."""
        await self._semaphore.acquire()
        return Slot(self._semaphore)
