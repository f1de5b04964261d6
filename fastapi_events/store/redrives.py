"""Letting runs that have ended begin anew: what their limits say to that is decided as it is for a start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.errors import RunConflict
from fastapi_events.model.run_limits import Refusal, RunLimits
from fastapi_events.model.run_start import RunStart
from fastapi_events.store import limited_starts
from fastapi_events.store.starts import Connection, carried_out
from fastapi_events.store.statements import Statements


class Conflict(NamedTuple):
    """A run that cannot begin anew: ``rival`` has its dedupe key, or its place where there is no other."""

    run: UUID
    rival: UUID
    why: Refusal | None

    def error(self) -> RunConflict:
        """The error that says so."""
        has = (
            f"run {self.rival} was started with its dedupe key since"
            if self.why == "duplicate"
            else f"run {self.rival} has not ended, beside which its job's Concurrency allows no further one"
        )
        return RunConflict(f"run {self.run} cannot begin anew: {has}. Wait for that one, or cancel it.", run=self.rival)


@dataclass(frozen=True, slots=True)
class Anew:
    """Which runs have begun anew, and which were left as they are."""

    begun: Sequence[UUID]
    conflicts: Sequence[Conflict]

    def check(self) -> None:
        """Raise ``RunConflict`` for the first that was left."""
        if self.conflicts:
            raise self.conflicts[0].error()


class Redrives:
    """The statements; nothing here commits."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def lock(self, connection: Connection, run_ids: Sequence[UUID], *, completed: bool) -> list[RunStart]:
        """Lock runs that have ended, with ``completed`` also those that succeeded; returns what is to begin, in order.

        From here on no lock is waited for long: an application may hold what is asked for.
        """
        await connection.fetch(self._statements["jobs/wait_briefly"], limited_starts.BRIEFLY)
        rows = await connection.fetch(self._statements["jobs/lock_ends"], sorted(run_ids), completed)
        return [asked_anew(row) for row in sorted(rows, key=lambda row: row["number"])]

    async def begin(self, connection: Connection, locked: Sequence[RunStart]) -> Anew:
        """Let them begin. Those stay as they are whose key, or place, another run has."""
        limited = [start for start in locked if start.limits is not None]
        if limited:
            deciding = {name: self._statements[f"jobs/{name}"] for name in limited_starts.NAMES}
            await carried_out(limited_starts.decided(limited), connection, deciding)
        free = sorted(start.id for start in locked if not start.is_duplicate)
        begun = await connection.fetch(self._statements["jobs/redrive_runs"], free) if free else []
        return Anew(
            sorted(row["run_id"] for row in begun), [conflict_of(start) for start in limited if start.is_duplicate]
        )


def asked_anew(row: Any) -> RunStart:
    """A run that has ended as a start that is to be decided.

    One that replaced others when it was started takes nobody's place again.
    """
    limits = RunLimits(
        limit_key=row["limit_key"], slots=row["slots"] or 1, on_collision="reject" if row["exclusive"] else "queue",
        dedupe_key=row["dedupe_key"], until_started=bool(row["until_started"]), unattended=True,
    )  # fmt: skip
    return RunStart(row["run_id"], row["job_id"], "", "null", row["run_id"], limits=limits if limits.asks else None)


def conflict_of(start: RunStart) -> Conflict:
    """Who is in its way, once that is decided."""
    assert start.limits is not None, "only what is limited meets another one"  # noqa: S101
    assert start.limits.existing is not None, "and that one has a name"  # noqa: S101
    return Conflict(start.id, start.limits.existing, start.limits.refusal)
