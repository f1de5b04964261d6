"""When the time of an attempt is over that is watched by itself, not by a crew."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi_events.engine.run import Run

_NEVER = float("inf")


class AttemptClock:
    """Runs for the handler's time-out; stands still while the attempt waits for a connection or a thread.

    Of an attempt that has begun already it takes over what is left of its time.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._now = run, asyncio.get_running_loop().time
        self._deadline = _NEVER
        self._moved = asyncio.Event()
        run.on_start, run.on_wait = self.start, self.wait
        if run.began is not None:
            self._deadline = run.began + run.handler.timeout
        elif not run.entered and (run.handler.outside is not None or not run.handler.queues):
            self.start()

    def start(self) -> None:
        """Begin, or begin anew."""
        self._run.began = self._now()
        self._move(self._run.began + self._run.handler.timeout)

    def wait(self) -> None:
        """Stand still until the next start."""
        self._run.began = None
        self._move(_NEVER)

    def _move(self, deadline: float) -> None:
        self._deadline = deadline
        self._moved.set()

    async def over(self) -> None:
        """Wait until the time is over."""
        while (left := self._deadline - self._now()) > 0:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if left == _NEVER else left):
                    await self._moved.wait()
