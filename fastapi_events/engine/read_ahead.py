"""The next batch of a lane, read while the one in hand is handled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi_events.store.cursors import Batch

Call = asyncio.Task[Any]
"""What may end the waiting for a batch."""


class ReadAhead:
    """At most one reading, begun when there is reason to."""

    def __init__(self, read: Callable[[], Coroutine[Any, Any, Batch]]) -> None:
        self._read = read
        self._task: asyncio.Task[Batch] | None = None

    def begin(self) -> None:
        """Begin to read; idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._read())

    @property
    def under_way(self) -> set[Call]:
        """The reading, as something to wait for, while it has not ended."""
        return set() if self._task is None or self._task.done() else {self._task}

    @property
    def has_brought(self) -> bool:
        """Whether events have been read: they wait for the batch before them."""
        task = self._task
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return False
        return bool(task.result().partitions)

    async def result(self) -> tuple[Batch | None, Exception | None]:
        """What was read, or why it could not be: the batch that was handled meanwhile is settled in any case."""
        if self._task is None:
            return None, None
        try:
            return await self._task, None
        except Exception as error:  # noqa: BLE001 - raised again once the batch is settled
            return None, error
