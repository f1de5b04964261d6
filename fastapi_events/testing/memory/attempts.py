"""Handlers called one after the other in this process, by the executor of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from fastapi_events.engine.attempt import attempt
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.handler_transaction import Transactions
from fastapi_events.engine.run import Run
from fastapi_events.model.lane import LANES
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.registry import Registry
from fastapi_events.settings import EventsSettings
from fastapi_events.testing.memory.marks import MemoryMarks

MakePublisher = Callable[[Run, type[Any]], Any]
_THREADS = 4


class WatchedRun(Run):
    """An attempt whose error is kept as it was raised."""

    __slots__ = ("error",)
    error: BaseException | None

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.error = None

    def caught(self, error: BaseException) -> None:
        self.error = error


class Attempts:
    """Makes attempts, one at a time; time-outs, injection, middleware and outcomes are the engine's."""

    def __init__(
        self, settings: EventsSettings, registry: Registry, marks: MemoryMarks, *, publishers: Collection[type[Any]],
        make_publisher: MakePublisher, transactions: Transactions | None, sync_sessions: Callable[[], Any] | None,
    ) -> None:  # fmt: skip
        self.executor = Executor(
            registry, marks, transactions=transactions, sync_sessions=sync_sessions, publishers=frozenset(publishers),
            make_publisher=make_publisher, connections=_THREADS, threads=_THREADS, lanes=list(LANES.values()),
            cascade_depth=settings.cascade_depth,
        )  # fmt: skip
        self._stopped = asyncio.Event()

    async def make(self, run: Run) -> Outcome:
        """One attempt, within the handler's time-out. Never raises."""
        return await attempt(self.executor, run, self._stopped)

    async def close(self) -> None:
        """Give up what still runs."""
        self._stopped.set()
        await self.executor.close()
