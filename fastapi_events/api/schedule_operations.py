"""Pausing schedules, letting them go on, and running one now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar
from uuid import UUID

from fastapi_events.api.gate_operations import GateOperations, record_of
from fastapi_events.api.unknown_handler import NEAR_NAME
from fastapi_events.errors import OperationRefused
from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.model.run_start import RUNS, WAITING
from fastapi_events.store.job_schedules import JobScheduleStore

T = TypeVar("T")


class ScheduleOperations(GateOperations):
    """What operators do with schedules of this group. Every call is recorded with its actor."""

    _schedules: JobScheduleStore
    _announce: Callable[[Collection[LogPlace]], None]

    def schedules_kept_in(self, store: JobScheduleStore) -> None:
        """Where the schedules are."""
        self._schedules = store

    async def pause_schedule(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Let a schedule tick no more, in any process and over restarts, until it is resumed.

        Runs that it has started go on. False if it was paused already. Raises ``OperationRefused`` for a name that the
        group has no schedule of, and within tenants: a schedule is everybody's.
        """
        record = self._checked("pause_schedule", name, actor, reason)
        return await self._found(name, await self._schedules.pause(self._group_id(), name, **record))

    async def resume_schedule(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Let a paused schedule go on with its next tick from now; those meanwhile are not made up.

        False if it was not paused. Raises as ``pause_schedule``.
        """
        record = self._checked("resume_schedule", name, actor, reason)
        changed = await self._found(name, await self._schedules.resume(self._group_id(), name, **record))
        self._announce({place_of(RUNS, WAITING)})
        return changed

    async def run_schedule_now(self, name: str, *, actor: str, reason: str = "") -> UUID:
        """Start one run with the schedule's input, also while it is paused, and leave its ticks as they are.

        Returns the run's id; its ``scheduled_for`` is None, as it is for no tick. The job's limits hold as for any
        start: where another run has its dedupe key, it is that one's id, and the record says so. Raises as
        ``pause_schedule``, ``JobCollisionError``, naming the run, where its ``Concurrency`` rejects it, and
        ``OperationUnavailable`` while a transaction that starts one of its key goes on.
        """
        record = self._checked("run_schedule", name, actor, reason)
        start = await self._found(name, await self._schedules.run(self._group_id(), name, **record))
        if not start.is_duplicate:
            self._announce({start.place})
        return start.standing

    def _checked(self, action: str, name: str, actor: str, reason: str) -> dict[str, Any]:
        self._check_whole(action)
        return record_of(action, name, actor, reason)

    async def _found(self, name: str, answer: T | None) -> T:
        if answer is None:
            raise unknown_schedule(name, await self._schedules.names(self._group_id()))
        return answer


def unknown_schedule(name: object, known: Iterable[str]) -> OperationRefused:
    """The error that names the near miss among the schedules that there are, else where they are listed."""
    near = get_close_matches(str(name), list(known), n=1, cutoff=NEAR_NAME)
    mend = f"Did you mean {near[0]!r}?" if near else "Look for its id in 'fastapi-events schedules list'."
    return OperationRefused(f"This group has no schedule {ascii(name)[:80]}. {mend}")
