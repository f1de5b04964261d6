"""Runs and the runs that they have spawned."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.errors import JobCollisionError
from fastapi_events.model.run_start import RunStart
from fastapi_events.store.database import Database
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.starts import RunLog
from fastapi_events.store.statements import Statements

BETWEEN = 0.25
"""Seconds between two tries to start a child whose key a transaction of the application holds."""
BRIEFLY = "100"
"""Milliseconds for which one try waits: it has one of the few connections by which leases are renewed."""


class FamilyStore:
    """Spawns runs, fenced, and reads them."""

    def __init__(self, database: Database, statements: Statements, *, worker: UUID) -> None:
        self._database, self._worker, self._runs = database, worker, RunLog(statements)
        self._step, self._read = statements["jobs/spawn_step"], statements["jobs/read_children"]
        self._same, self._holders = statements["jobs/find_same_ancestor"], statements["jobs/find_holders_above"]
        self._briefly = statements["jobs/wait_briefly"]
        self._one_at_a_time = asyncio.Lock()
        """Of children whose keys others may hold, so that however many wait, one connection does."""

    async def spawn(self, claim: RunClaim, child: RunStart, name: str, number: int, given: str) -> bool:
        """Start a run together with the step that says so, and what it was ``given``.

        False if the parent is not this worker's any more. While a transaction of the application starts a run of the
        child's key, it is tried again and again: the parent's time-out ends that, and its cancellation.
        """
        while True:
            try:
                async with self._one_at_a_time if child.explicit_id else contextlib.nullcontext():
                    return await self._spawn(claim, child, name, number, given)
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(BETWEEN)

    async def _spawn(self, claim: RunClaim, child: RunStart, name: str, number: int, given: str) -> bool:
        kept = json.dumps({"run": str(child.id), "input": given})
        with contextlib.suppress(_Lost):
            async with self._database.acquire() as connection, self._database.steered(connection):
                # First the child: while others are waited for, the parent's row is free, by which its lease is renewed.
                await connection.execute(self._briefly, BRIEFLY)
                await self._runs.start(connection, [child])
                refuse_stand_in(child)
                rows = await connection.fetch(
                    self._step, claim.run_id, claim.token, self._worker, name, number, child.name, kept
                )
                if not rows:
                    raise _Lost
            return True
        return False

    async def children(self, parent: UUID, children: Sequence[UUID]) -> list[Any]:
        """How each stands, in the order given, with the parent's news at that moment."""
        return await self._database.fetch(self._read, parent, list(children))

    async def same_ancestor(self, parent: UUID, child: RunStart) -> UUID | None:
        """The run above the child that is of the same job and has the same input."""
        rows = await self._database.fetch(self._same, parent, child.job_id, child.input)
        return rows[0]["id"] if rows else None

    async def holders_above(self, parent: UUID, child: RunStart) -> list[UUID]:
        """The runs above the child that are at work of its job and its limited key, the nearest first."""
        key = child.limits.limit_key if child.limits is not None else None
        rows = await self._database.fetch(self._holders, parent, child.job_id, key) if key is not None else []
        return [row["id"] for row in rows]


class _Lost(Exception):
    """The parent is not this worker's any more: the child is undone."""


def refuse_stand_in(child: RunStart) -> None:
    """Raise ``JobCollisionError`` for a child that another run stands for."""
    if child.is_duplicate:
        raise JobCollisionError(
            f"spawn({child.name}, ...): another run stands for it, by its job's dedupe key, and a child is a run of "
            "its own. Start it with jobs.start, which gives that one, or spawn another job.",
            run=child.limits.existing if child.limits is not None else None,
        )
