"""Whether a group is done with certain events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements


class UnreadStore:
    """What the cursors of a group say of single events."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def count(self, group: int, event_ids: Sequence[UUID], lanes: Sequence[int]) -> int:
        """How many of these events, in these lanes, the group has not read and settled."""
        [row] = await self._database.fetch(self._statements["count_unread"], group, list(event_ids), list(lanes))
        unread: int = row["unread"]
        return unread
