"""Reading the log as tests do: all of it, with payloads."""

from __future__ import annotations

from typing import Any

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements


class PublishedStore:
    """What has been published in one schema."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def read(self, name: str | None = None, *, after: int = 0) -> list[Any]:
        """The rows of events above a position, and of those that wait for their time."""
        return await self._database.fetch(self._statements["read_published"], name, after)
