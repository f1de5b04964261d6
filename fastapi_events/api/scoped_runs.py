"""Cancelling and rescheduling runs: one, or all that belong to one thing of the application's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import ContradictoryOptions, InvalidInput, RunNotFound
from fastapi_events.model.context import current_flow
from fastapi_events.model.job_context import Started
from fastapi_events.model.job_keys import checked_run_id, checked_scope
from fastapi_events.model.lane import place_of
from fastapi_events.model.run_failing import NO_REASON
from fastapi_events.model.run_sealing import StartOptions, due_of_run
from fastapi_events.model.run_start import CANCELED, RUNS, WAITING


class ScopedRuns:
    """What ``JobClient`` does to runs that are there, at once and durably."""

    _port: PublishingPort

    async def cancel(self, run: UUID | Started[Any], reason: str = "") -> bool:
        """Cancel a run, at once and durably: one that waits ends, one that is at work is interrupted where it awaits.

        Returns whether there was anything to cancel: False if it had ended. Raises ``RunNotFound``.
        """
        run_id = await self._meant(run)
        if not await self._cancel([run_id], reason):
            await self._row(run_id)
            return False
        return True

    async def cancel_scope(self, scope: tuple[str, Any], reason: str = "") -> int:
        """Cancel every run of this application that belongs to one thing, as ``("account", 7)``; returns how many.

        Where a tenant is known, in a request or a handler, those of that tenant alone. Raises ``InvalidInput``.
        """
        return sum([await self._cancel(ids, reason) async for ids in self._of(scope, "jobs.cancel_scope()")])

    async def reschedule(
        self, run: UUID | Started[Any], *, run_at: datetime | None = None, delay: float | timedelta | None = None
    ) -> bool:
        """Put a run off, or bring it forward, at once and durably, if it has not begun: ``delay=0`` is now.

        Returns whether it has: False if it has begun, or ended, or is being cancelled. Raises ``RunNotFound``,
        ``InvalidInput`` and ``ContradictoryOptions``.
        """
        when = _when("jobs.reschedule()", run_at, delay)
        run_id = await self._meant(run)
        if not await self._reschedule([run_id], *when):
            await self._row(run_id)
            return False
        return True

    async def reschedule_scope(
        self, scope: tuple[str, Any], *, run_at: datetime | None = None, delay: float | timedelta | None = None
    ) -> int:
        """The same for every run of this application that belongs to one thing; returns how many. As ``cancel_scope``
        it goes by the tenant."""
        owner = "jobs.reschedule_scope()"
        when = _when(owner, run_at, delay)
        return sum([await self._reschedule(ids, *when) async for ids in self._of(scope, owner)])

    async def _cancel(self, ids: list[UUID], reason: str) -> int:
        told = await self._port.run_readings.cancel(ids, reason or NO_REASON)
        if told:
            self._port.committed({place_of(RUNS, CANCELED)})
        return len(told)

    async def _reschedule(self, ids: list[UUID], delay: float | None, at: datetime | None) -> int:
        moved = await self._port.run_readings.reschedule(ids, delay, at)
        if moved:
            self._port.committed({place_of(RUNS, WAITING)})
        return moved

    async def _of(self, scope: tuple[str, Any], owner: str) -> AsyncGenerator[list[UUID]]:
        """What belongs to a thing and has not ended, some at a time."""
        pair = checked_scope(scope, owner)
        if pair is None:
            raise InvalidInput(f"{owner} takes a pair of a type and an id, such as ('account', account.id).")
        port = self._port
        jobs, tenant, after = list(port.job_numbers().values()), current_flow().tenant_id, 0
        while rows := await port.run_readings.open_of_scope(*pair, jobs, tenant, after):
            yield [row["id"] for row in rows]
            after = rows[-1]["number"]

    async def _meant(self, run: UUID | Started[Any]) -> UUID:
        """The id of a run, which is there if somebody asks in the name of a tenant."""
        run_id = id_of(run)
        if current_flow().tenant_id is not None:
            await self._row(run_id)
        return run_id

    async def _row(self, run_id: UUID) -> Any:
        """The run; another tenant's is not there."""
        row, tenant = await self._port.run_readings.find(run_id), current_flow().tenant_id
        if row is None or (tenant is not None and row["tenant_id"] != tenant):
            raise RunNotFound(f"There is no run {run_id}, or the transaction that started it has not been committed.")
        return row


def id_of(run: UUID | Started[Any]) -> UUID:
    """The id of a run; raises ``InvalidInput`` for what is none."""
    return run.run if isinstance(run, Started) else checked_run_id(run, "jobs")


def _when(
    owner: str, run_at: datetime | None, delay: float | timedelta | None
) -> tuple[float | None, datetime | None]:  # fmt: skip
    if run_at is None and delay is None:
        raise ContradictoryOptions(f"{owner}: neither run_at= nor delay= says when. Pass one of them; delay=0 is now.")
    seconds, at = due_of_run(StartOptions(run_at=run_at, delay=delay), owner)
    return (seconds or 0.0) if at is None else None, at
