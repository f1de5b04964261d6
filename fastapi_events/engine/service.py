"""The start/stop contract of every background service.

``start()`` returns once the service does its work (a listener listens, a loop has made its first round); ``stop()``
returns once it does nothing any more. Both may be called twice. A loop never dies and never goes quiet: whatever an
iteration raises is logged once per change of state, and the next one follows after a capped, jittered back-off.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod

from fastapi_events.engine.infrastructure import describe

logger = logging.getLogger("fastapi_events")

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0


class Loop(ABC):
    """A supervised loop: subclasses write one ``turn``, which waits for its own next occasion."""

    name: str = "loop"

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        self.failing: str | None = None

    async def start(self) -> None:
        """Begin; idempotent."""
        if self._task is None or self._task.done():
            self.stopping.clear()
            self._task = asyncio.create_task(self._supervise(), name=f"fastapi_events:{self.name}")

    async def stop(self, grace: float = 5.0) -> None:
        """End after the current turn, by cancellation once ``grace`` seconds are over; idempotent."""
        self.stopping.set()
        task, self._task = self._task, None
        if task is None:
            return
        self.interrupt()
        done, _ = await asyncio.wait({task}, timeout=grace)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=2.0)

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, or None: its last turn failed, or somebody has cancelled its task."""
        if self._task is not None and self._task.done() and not self.stopping.is_set():
            return "its task was cancelled from outside; restart the process"
        return self.failing

    @abstractmethod
    async def turn(self) -> None:
        """One round, its waiting included; returns soon after ``interrupt``."""

    def interrupt(self) -> None:  # noqa: B027 - a loop without waiting of its own needs none
        """Cut the waiting of the current turn short."""

    async def recover(self) -> None:  # noqa: B027 - a loop without state has nothing to forget
        """Called after a turn has failed, before the next one: forget what may be stale."""

    async def _supervise(self) -> None:
        delay = FIRST_BACKOFF
        while not self.stopping.is_set():
            try:
                await self.turn()
            except Exception as error:  # noqa: BLE001 - a loop outlives whatever a turn meets
                self._note_failure(error)
                await self._pause(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                delay = min(delay * 2, LONGEST_BACKOFF)
                await self.recover()
            else:
                delay = FIRST_BACKOFF
                self._note_recovery()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            pass

    def _note_failure(self, error: Exception) -> None:
        what = describe(error)
        if self.failing != what:
            logger.warning("%s: %s; trying again", self.name, what, exc_info=_traceback_of(error))
        self.failing = what

    def _note_recovery(self) -> None:
        if self.failing is not None:
            logger.info("%s: working again", self.name)
        self.failing = None


def _traceback_of(error: Exception) -> Exception | None:
    """Failures of the infrastructure are told in one line; anything else is a defect and keeps its traceback."""
    from fastapi_events.engine.infrastructure import is_infrastructure

    return None if is_infrastructure(error) else error
