"""What a transaction has appended and not yet committed: for tests that handle it inside that transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from fastapi_events.store.clauses import clause
from fastapi_events.store.statements import Statements


class OwnEvents:
    """Reads the log through a connection of SQLAlchemy's, as its open transaction sees it."""

    def __init__(self, statements: Statements, partitions: int) -> None:
        self._read, self._partitions = clause(statements["read_own_events"], "partitions"), partitions

    def read(self, connection: Connection) -> list[dict[str, Any]]:
        """The events of the connection's transaction that are in a lane, in position order."""
        rows = connection.execute(self._read, {"partitions": self._partitions}).mappings()
        return [dict(row) for row in rows]
