"""One of a crew's hands: a task that makes one attempt after the other."""

from __future__ import annotations

import asyncio

from fastapi_events.engine.chain import Chain
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome


class Hand:
    """A task, the attempt that it makes, and when that is to be looked after (loop time)."""

    __slots__ = ("away", "chain", "deadline", "due", "run", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.away: asyncio.Future[Outcome] | None = None
        self.due = 0.0
        self.run: Run | None = None
        self.chain: Chain | None = None
        self.deadline = 0.0

    @property
    def waits_for_slot(self) -> bool:
        """Whether its attempt waits for a connection or a thread: the handler has not begun, nor will by itself."""
        run = self.run
        return (
            run is not None
            and run.began is None
            and run.handler.queues
            and (run.handler.outside is None or run.entered)
            and run.outcome is None
        )
