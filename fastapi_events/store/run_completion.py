"""Recording, in the transaction of a job's own effects, that its run has succeeded."""

from __future__ import annotations

from uuid import UUID

from fastapi_events.store.runs import RunClaim, id_array
from fastapi_events.store.statements import Statements
from fastapi_events.store.steps import Execute


class RunCompletion:
    """The statement that a transaction ends with which a job has been given."""

    def __init__(self, statements: Statements, *, worker: UUID) -> None:
        self._complete, self._worker = statements["jobs/complete_own_run"], worker
        self._lock = statements["jobs/lock_families"]

    async def complete(
        self, execute: Execute, claim: RunClaim, result: str | None, *, attempts: int, duration: float, keep: float,
        related: bool,
    ) -> bool:  # fmt: skip
        """Record it by ``execute``; False if the run is not this worker's any more, and nothing may be committed.

        ``related``: it was spawned, or has spawned others.
        """
        if related:
            await execute(self._lock, id_array([claim.run_id]))
        given = (claim.run_id, claim.token, self._worker, result, attempts, duration, keep)
        return bool(await execute(self._complete, *map(str, given)))
