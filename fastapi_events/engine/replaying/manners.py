"""When a process may begin the next chunk of a replay: after what is live, and never without a pause."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

LONGEST_PAUSE = 0.03
"""Seconds between the beginnings of two chunks at most, while nothing live is at work."""
GIVE_WAY = 0.25
"""Seconds that a chunk waits at most for what is live."""
_TICK = 0.002
_LATE = 0.003


class Manners:
    """Of all hands of a process together. ``live_at_rest`` returns once the lanes have nothing to do.

    Chunks whose handlers only compute follow each other with as long a pause as they take: the event loop, and this
    process's part of the processor, are half idle for what is live. Where handlers wait, chunks overlap.
    """

    def __init__(self, live_at_rest: Callable[[], Awaitable[None]]) -> None:
        self._live_at_rest = live_at_rest
        self._door = asyncio.Lock()
        self._next_at, self._took = 0.0, 0.0

    async def enter(self) -> None:
        """Wait for one's turn."""
        loop = asyncio.get_running_loop()
        async with self._door:
            await asyncio.sleep(max(self._next_at - loop.time(), 0.0))
            began = loop.time()
            await asyncio.sleep(_TICK)
            late = loop.time() - began - _TICK
            if late > _LATE:  # whatever keeps this process from its work, this is the work that can wait
                await asyncio.sleep(min(late * 10, GIVE_WAY))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GIVE_WAY):
                    await self._live_at_rest()
            self._next_at = loop.time() + min(self._took * 2, LONGEST_PAUSE)

    def leave(self, took: float) -> None:
        """Say how many seconds a chunk has taken."""
        self._took = took
