"""What operators do to jobs and their runs."""

from __future__ import annotations

from collections.abc import Callable, Collection

from fastapi_events.api.run_operations import Jobs, RunOperations, unknown_job
from fastapi_events.errors import OperationRefused
from fastapi_events.model.lane import LogPlace
from fastapi_events.store.run_actions import RunActionStore


class JobOperations:
    """Runs and jobs of one group. Every call is recorded with its actor, and holds for every process."""

    _tenants: tuple[str, ...] | None

    def __init__(
        self, store: RunActionStore, group_id: Callable[[], int], jobs: Jobs, *, changed: Callable[[], None],
        told: Callable[[Collection[LogPlace]], None],
    ) -> None:  # fmt: skip
        self._run_actions, self._group_of_jobs, self._jobs_here = store, group_id, jobs
        self._jobs_changed, self._runs_told = changed, told

    @property
    def runs(self) -> RunOperations:
        """Runs of jobs: ``cancel``, ``retry``, ``replay``, ``edit_and_retry``."""
        return RunOperations(self._run_actions, self._group_of_jobs, self._jobs_here, self._runs_told, self._tenants)

    async def pause_job(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Begin no run of a job, in any process, until ``resume_job``; it outlasts restarts.

        What is at work goes on to its end; what is started, or put off, waits. Processes learn of it at once, or
        within a heartbeat. Returns whether that changed anything. Raises ``OperationRefused`` for a job that the group
        does not have.
        """
        return await self._gate(name, paused=True, actor=actor, reason=reason)

    async def resume_job(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Let a paused job go on: what waits is run in its order. Returns and raises as ``pause_job``."""
        return await self._gate(name, paused=False, actor=actor, reason=reason)

    async def _gate(self, name: str, *, paused: bool, actor: str, reason: str) -> bool:
        act = "pause_job" if paused else "resume_job"
        if self._tenants is not None:
            raise OperationRefused(
                f"{act}: it would hold for everybody's runs, and these operations are those of some tenants. Use "
                "events.operations without within()."
            )
        if not actor.strip():
            raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")
        group, store = self._group_of_jobs(), self._run_actions
        changed = await store.pause(group, name, paused=paused, actor=actor, reason=reason)
        if changed is None:
            raise unknown_job(name, [row["name"] for row in await store.jobs(group)])
        if changed:
            self._jobs_changed()
        return changed
