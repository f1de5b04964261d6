"""Keeping the tables small and the log ready, in bounded steps, one process at a time."""

from __future__ import annotations

import random

from fastapi_events.engine.pruning import Pruner
from fastapi_events.engine.service import Loop
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements
from fastapi_events.store.upkeep import UpkeepStore

INTERVAL = 60.0
SHORTEST_INTERVAL = 30.0
"""Seconds between rounds of retention, whichever process has them."""
CATCHING_UP = 5.0
"""Seconds until the next round where the last one left something to remove."""


class Maintenance(Loop):
    """Once a minute, in whichever process gets the lock first."""

    name = "maintenance"

    def __init__(self, store: UpkeepStore, pruner: Pruner) -> None:
        super().__init__()
        self._store, self._pruner = store, pruner
        self._more = False

    async def turn(self) -> None:
        await self._pause((CATCHING_UP if self._more else INTERVAL) * random.uniform(0.7, 1.0))  # noqa: S311 - jitter
        if self.stopping.is_set():
            return
        if not self._more:
            await self._store.tidy()
        goes_on, self._more = self._more, False
        pruned = await self._pruner.prune(every=0 if goes_on else SHORTEST_INTERVAL, stopping=self.stopping.is_set)
        self._more = pruned.more


def make_maintenance(
    database: Database, statements: Statements, settings: EventsSettings, pruner: Pruner
) -> Maintenance:
    """The upkeep of a process that drains."""
    return Maintenance(UpkeepStore(database, statements, history=settings.history_retention or None), pruner)
