"""Keeping this process alive in the database's eyes: one statement every few seconds for all it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import Wake, wait_for_flag
from fastapi_events.store.group import GroupStore, Newest
from fastapi_events.store.parked import KeyClaim


class Heartbeat(Loop):
    """Extends the worker's lease and those of its parked keys; enters the worker again if its row has gone.

    It also learns of changes to the group's handlers and jobs, at once if ``wake`` says that there are some.
    """

    name = "heartbeat"

    def __init__(
        self, store: GroupStore, worker: UUID, *, lease: float, interval: float, wake_up: Callable[[], str],
        claims: Callable[[], list[KeyClaim]], stale: Callable[[], int], register: Callable[[], object],
        wake: Wake, revised: Callable[[Newest], Awaitable[None]],
        broadcasts: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:  # fmt: skip
        super().__init__()
        self._store, self._worker, self._lease, self._interval = store, worker, lease, interval
        self._wake, self._revised = wake, revised
        self._wake_up, self._claims, self._stale, self._register = wake_up, claims, stale, register
        self._broadcasts = broadcasts

    async def turn(self) -> None:
        await wait_for_flag(self._wake.plan, self._interval)
        if self.stopping.is_set():
            return
        newest = await self._store.beat(
            self._worker, self._lease, self._wake_up(), self._stale(), self._claims(), self._broadcasts()
        )
        if newest is not None:
            await self._revised(newest)
            return
        result = self._register()
        if asyncio.iscoroutine(result):
            await result

    def interrupt(self) -> None:
        self._wake.plan.set()
