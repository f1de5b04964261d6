"""What runs have done: their steps, each recorded once, by the worker that has the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi_events.model.run_start import Sealed
from fastapi_events.store.database import Database
from fastapi_events.store.log import EventLog
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.statements import Statements

BRIEFLY = 100
"""Milliseconds for which a record waits for what somebody has locked: it is tried again, the connection is not kept."""

Execute = Callable[..., Awaitable[list[Any]]]
"""Runs a statement in the transaction that is to take the record with it."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as it is recorded. ``delay`` is the number of seconds until it is due."""

    name: str
    number: int
    kind: str
    state: str
    source: str | None = None
    result: str | None = None
    attempts: int = 1
    error_type: str | None = None
    error_message: str | None = None
    duration: float = 0.0
    delay: float | None = None
    secret: bool = False


class StepStore:
    """Reads and records steps."""

    def __init__(self, database: Database, statements: Statements, log: EventLog, *, worker: UUID) -> None:
        self._database, self._log, self._worker = database, log, worker
        self._read, self._record = statements["jobs/read_steps"], statements["jobs/record_step"]
        self._progress = statements["jobs/note_progress"]

    async def read(self, run_id: UUID) -> dict[str, Any]:
        """The steps of a run by their names, in their order."""
        return {row["name"]: row for row in await self._database.fetch(self._read, run_id)}

    async def record(self, claim: RunClaim, step: StepRecord, execute: Execute | None = None) -> Any | None:
        """Record a step, by ``execute`` in somebody's transaction; None if the run is not this worker's any more.

        On a connection of its own it waits for locks only briefly, and raises ``LockNotAvailableError``.
        """
        if execute is not None:
            return await self._record_by(execute, claim, step, None)
        return await self._record_by(self._database.fetch, claim, step, BRIEFLY)

    async def _record_by(self, execute: Execute, claim: RunClaim, step: StepRecord, patience: int | None) -> Any | None:
        given = (
            claim.run_id, claim.token, self._worker, step.name, step.number, step.kind, step.state, step.source,
            step.result, step.attempts, step.error_type, step.error_message, step.duration, step.delay,
            step.secret, patience,
        )  # fmt: skip
        rows = await execute(self._record, *(None if value is None else str(value) for value in given))
        return rows[0] if rows else None

    async def record_with(self, claim: RunClaim, step: StepRecord, sealed: Sequence[Sealed]) -> Any | None:
        """Record a step and what it has published and started, in one transaction; None, and nothing of it, if the run
        is not this worker's any more. It waits for locks, also of what is published, only briefly."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            row = await self._record_by(connection.fetch, claim, step, BRIEFLY)
            if row is not None:
                await self._log.append(connection, sealed)
        return row

    async def progress(self, claim: RunClaim, done: float, total: float | None) -> bool:
        """Note how far a run is; False if the run is not this worker's any more."""
        return bool(await self._database.fetch(self._progress, *claim, self._worker, done, total))
