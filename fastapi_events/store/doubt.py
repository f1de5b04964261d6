"""How often processes must have vanished over something until it may be why.

Once is an accident. Twice in a row is not, unless processes vanish anyway: then they meet the same place by chance.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

IN_DOUBT = 2
"""So many processes in a row have vanished over something that it may be why."""
MOST_ACCIDENTS = 4
"""Others that vanished meanwhile ask for one more each, but for no more than this."""
_LEASES = 2
"""How long it takes, in leases, until a crash is noticed and the next one happens: with time to spare."""


class Doubt:
    """Weighs how often processes have vanished over something against how many have vanished at all."""

    def __init__(self, database: Database, statements: Statements, *, worker: UUID, lease: float) -> None:
        self._database, self._statement = database, statements["count_vanished"]
        self._worker, self._lease = worker, lease

    async def threshold(self, crashes: Collection[int]) -> int:
        """From how many crashes on each of these is in doubt; asks the database only if one of them may be."""
        if max(crashes, default=0) < IN_DOUBT:
            return IN_DOUBT
        return IN_DOUBT + await self.accidents(crashes, MOST_ACCIDENTS)

    async def accidents(self, crashes: Collection[int], limit: int) -> int:
        """How many other processes have vanished meanwhile; no more than ``limit`` are counted."""
        most = max(crashes, default=0)
        rows = await self._database.fetch(self._statement, self._worker, self._lease * _LEASES * most, most + limit)
        return max(int(rows[0]["vanished"]) - most, 0)
