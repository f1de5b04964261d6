"""Keeping the tables small and the log ready, in bounded steps, one process at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fastapi_events.engine.service import Loop
from fastapi_events.store.upkeep import UpkeepStore

INTERVAL = 60.0


class Maintenance(Loop):
    """Once a minute, in whichever process gets the lock first."""

    name = "maintenance"

    def __init__(self, store: UpkeepStore, *, lanes: Sequence[int]) -> None:
        super().__init__()
        self._store, self._lanes = store, lanes

    async def turn(self) -> None:
        await self._pause(INTERVAL * random.uniform(0.7, 1.0))  # noqa: S311 - jitter
        if not self.stopping.is_set():
            await self._store.tidy()
