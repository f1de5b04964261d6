"""Runs and the runs that they have spawned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi_events.errors import JobCollisionError
from fastapi_events.model.run_start import RunStart
from fastapi_events.store.database import Database
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.starts import RunLog
from fastapi_events.store.statements import Statements


class FamilyStore:
    """Spawns runs, fenced, and reads them."""

    def __init__(self, database: Database, statements: Statements, *, worker: UUID) -> None:
        self._database, self._worker, self._runs = database, worker, RunLog(statements)
        self._step, self._read = statements["jobs/spawn_step"], statements["jobs/read_children"]
        self._same = statements["jobs/find_same_ancestor"]

    async def spawn(self, claim: RunClaim, child: RunStart, name: str, number: int, given: str) -> bool:
        """Start a run together with the step that says so, and what it was ``given``.

        False if the parent is not this worker's any more.
        """
        kept = json.dumps({"run": str(child.id), "input": given})
        async with self._database.acquire() as connection, self._database.steered(connection):
            rows = await connection.fetch(
                self._step, claim.run_id, claim.token, self._worker, name, number, child.name, kept
            )
            if rows:
                await self._runs.start(connection, [child])
                if child.is_duplicate:
                    raise JobCollisionError(
                        f"spawn({child.name}, ...): another run stands for it, by its job's dedupe key, and a child is "
                        "a run of its own. Start it with jobs.start, which gives that one, or spawn another job.",
                        run=child.limits.existing if child.limits is not None else None,
                    )
        return bool(rows)

    async def children(self, parent: UUID, children: Sequence[UUID]) -> list[Any]:
        """How each stands, in the order given, with the parent's news at that moment."""
        return await self._database.fetch(self._read, parent, list(children))

    async def same_ancestor(self, parent: UUID, child: RunStart) -> UUID | None:
        """The run above the child that is of the same job and has the same input."""
        rows = await self._database.fetch(self._same, parent, child.job_id, child.input)
        return rows[0]["id"] if rows else None
