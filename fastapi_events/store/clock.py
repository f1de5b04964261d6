"""Moving what is stored against the clock, for tests."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements


class ClockStore:
    """The moments that one schema keeps, all of them at once."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def advance(self, by: timedelta, alive: Collection[UUID]) -> None:
        """Let everything be older by so much, in one transaction, but for the leases of the workers that are alive.

        On a connection of its own: a schema full of rows takes longer than bookkeeping may.
        """
        connection = await self._database.connect()
        try:
            await connection.fetch(self._statements["advance_clock"], by, list(alive))
        finally:
            await connection.close(timeout=5)
