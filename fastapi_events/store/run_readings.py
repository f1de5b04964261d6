"""Runs as they are read by whoever started them: one by its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements


class RunReadings:
    """Reads runs, and cancels them, on bookkeeping connections."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._read, self._cancel = statements["jobs/read_run"], statements["jobs/cancel_runs"]
        self._durably = statements["keep_durably"]

    async def find(self, run_id: UUID) -> Any | None:
        """The run's row; None if there is none."""
        rows = await self._database.fetch(self._read, run_id)
        return rows[0] if rows else None

    async def cancel(self, run_ids: Sequence[UUID], reason: str) -> dict[UUID, bool]:
        """Cancel runs; of each that had not ended, whether it has now. The others are being told."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute(self._durably)
            rows = await connection.fetch(self._cancel, sorted(run_ids), reason)
        return {row["run_id"]: row["ended"] for row in rows}
