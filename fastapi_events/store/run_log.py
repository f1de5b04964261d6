"""What runs say of themselves, kept by the worker that has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.statements import Statements


class Said(NamedTuple):
    """What one run has said since the last time: lines, as the statement takes them, and how many are left out."""

    claim: RunClaim
    lines: Sequence[dict[str, Any]]
    left_out: int


class RunLogStore:
    """Keeps lines, fenced by the claims of the runs."""

    def __init__(self, database: Database, statements: Statements, *, worker: UUID) -> None:
        self._database, self._worker = database, worker
        self._keep, self._count = statements["jobs/keep_lines"], statements["jobs/count_lines"]

    async def keep(self, said: Sequence[Said]) -> set[UUID]:
        """Keep what runs have said, in one statement; returns the runs that are still this worker's."""
        ordered = sorted(said, key=lambda one: one.claim)
        lines = [{"n": n, **line} for n, line in enumerate(line for one in ordered for line in one.lines)]
        rows = await self._database.fetch(
            self._keep, self._worker, [one.claim.run_id for one in ordered], [one.claim.token for one in ordered],
            [one.left_out for one in ordered], json.dumps(lines, default=str),
        )  # fmt: skip
        return {row["run_id"] for row in rows}

    async def count(self, run_ids: Sequence[UUID], most: int) -> dict[UUID, int]:
        """How many lines of each run are kept already, counted up to ``most``."""
        rows = await self._database.fetch(self._count, list(run_ids), most)
        return {row["run_id"]: row["lines"] for row in rows}
