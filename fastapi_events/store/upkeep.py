"""Upkeep of the tables: bounded statements that never wait for traffic and that traffic never waits for."""

from __future__ import annotations

from fastapi_events.store.database import Database
from fastapi_events.store.segments import EXTEND_LOCK, SegmentStore
from fastapi_events.store.statements import Statements


class UpkeepStore:
    """Trims cursors, prunes what is over, and has the log extended before it is full."""

    def __init__(self, database: Database, statements: Statements, *, history: float | None = None) -> None:
        self._database, self._statements, self._history = database, statements, history
        self._segments = SegmentStore(database, statements)

    async def tidy(self) -> bool:
        """One round; False if another process is at it."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", EXTEND_LOCK):
                return False
            for name in ("trim_cursors", "prune_parked_keys", "prune_workers"):
                await connection.execute(self._statements[name])
        await self._segments.extend(self._history)
        return True
