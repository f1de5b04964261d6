"""Changing runs and jobs by an operator's hand; each change is recorded in the transaction that makes it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.errors import NotFound
from fastapi_events.model.identity import new_id
from fastapi_events.model.job import ReplayFrom
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import NO_TENANTS, Tenants, explained
from fastapi_events.store.statements import Statements

_BUSY = (
    "One of these runs, or the job, is being changed by somebody else at this moment. Nothing was changed; try again."
)


_Then = Callable[[Any, Sequence[UUID], UUID], Awaitable[None]]
"""What follows in the same transaction: on which connection, for which runs, by which action."""


@dataclass(frozen=True, slots=True)
class RunAct:
    """Who does what to which runs of a group, and why; ``details`` go into the record beside the reason."""

    action: str
    ids: Sequence[UUID]
    actor: str
    reason: str
    tenants: Tenants = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class RunActionStore:
    """Cancels runs, lets them begin again, edits their inputs, pauses jobs."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def cancel(self, group: int, act: RunAct) -> list[UUID]:
        """Cancel runs; returns those that had not ended.

        Raises ``NotFound``, here and below, and changes nothing, if one is not of this group and these tenants.
        """
        return await self._act(group, act, "cancel_runs", act.reason or "cancelled")

    async def retry(self, group: int, act: RunAct) -> list[UUID]:
        """Let runs that have ended without success go on where their steps are; returns those that had."""
        return await self._act(group, act, "redrive_runs")

    async def replay(self, group: int, act: RunAct, starts: Mapping[UUID, ReplayFrom]) -> list[UUID]:
        """Let runs that have ended begin again, each from its place; returns those that had."""

        async def forget(connection: Any, changed: Sequence[UUID], _: UUID) -> None:
            for place in sorted({starts[one] for one in changed}):
                ids = [one for one in changed if starts[one] == place]
                await connection.execute(self._statements["jobs/forget_steps"], ids, place)

        return await self._act(group, act, "replay_runs", then=forget)

    async def edit(self, group: int, act: RunAct, text: str, start: ReplayFrom | None) -> list[UUID]:
        """Let one run that has ended without success begin again with another input; the one that it had is kept.

        With ``start`` it begins there, else its steps stay done.
        """

        async def change(connection: Any, changed: Sequence[UUID], number: UUID) -> None:
            await connection.execute(self._statements["jobs/edit_run"], changed[0], text, number)
            if start is not None:
                await connection.execute(self._statements["jobs/forget_steps"], changed, start)

        return await self._act(group, act, "redrive_runs", then=change)

    async def matching(
        self, jobs: Sequence[int], states: Sequence[str], *, until: datetime, limit: int, tenants: Tenants
    ) -> list[UUID]:
        """Runs that ended in these ways until a moment, the first first."""
        with explained(_BUSY):
            rows = await self._database.fetch(
                self._statements["jobs/find_ended_runs"], list(jobs), list(states), until, limit, tenants
            )
        return [row["id"] for row in rows]

    async def jobs(self, group: int) -> list[Any]:
        """The group's jobs: id, name and former names of each."""
        with explained(_BUSY):
            return await self._database.fetch(self._statements["jobs/list_jobs"], group)

    async def jobs_of(self, group: int, ids: Sequence[UUID], tenants: Tenants) -> dict[UUID, str]:
        """The names of the jobs that runs are of; raises ``NotFound`` if one is not of this group and these tenants."""
        with explained(_BUSY):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await self._check(connection, group, ids, tenants)
                rows = await connection.fetch(self._statements["jobs/read_run_summaries"], ids)
        return {row["id"]: row["job"] for row in rows}

    async def pause(self, group: int, name: str, *, paused: bool, actor: str, reason: str) -> bool | None:
        """Pause a job or let it go on; whether that changed anything, and None if there is no such job."""
        with explained(_BUSY):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute(self._statements["keep_durably"])
                rows = await connection.fetch(self._statements["jobs/pause_job"], group, name, paused)
                if not rows:
                    return None
                changed = bool(rows[0]["changes"])
                action = "pause_job" if paused else "resume_job"
                await self._record(
                    connection, new_id(), action, actor, name, {"reason": reason, "changed": changed}, NO_TENANTS
                )
        return changed

    async def _act(
        self, group: int, act: RunAct, statement: str, *arguments: Any, then: _Then | None = None
    ) -> list[UUID]:
        ids, number = sorted(act.ids), new_id()
        with explained(_BUSY):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute(self._statements["keep_durably"])
                await self._check(connection, group, act.ids, act.tenants)
                rows = await connection.fetch(self._statements[f"jobs/{statement}"], ids, *arguments)
                changed = sorted(row["run_id"] for row in rows)
                if then is not None and changed:
                    await then(connection, changed, number)
                await self._record_act(connection, act, number, changed)
        return changed

    async def _check(self, connection: Any, group: int, ids: Sequence[UUID], tenants: Tenants) -> None:
        missing = await connection.fetchval(self._statements["jobs/find_missing_runs"], ids, group, tenants)
        if missing is not None:
            raise NotFound(f"There is no run {missing}. Nothing was changed.")

    async def _record_act(self, connection: Any, act: RunAct, number: UUID, changed: Sequence[UUID]) -> None:
        concerned = await connection.fetch(self._statements["jobs/find_tenants_of_runs"], list(act.ids))
        facts = {**act.details, "reason": act.reason, "asked": len(act.ids)}
        facts["changed"] = [str(one) for one in changed[:1000]]
        target = str(act.ids[0]) if len(act.ids) == 1 else f"{len(act.ids)} runs"
        tenants = [row["tenant"] for row in concerned]
        await self._record(connection, number, act.action, act.actor, target, facts, tenants)

    async def _record(
        self, connection: Any, number: UUID, action: str, actor: str, target: str, details: Mapping[str, Any],
        tenants: Sequence[str],
    ) -> None:  # fmt: skip
        await connection.execute(
            self._statements["record_action"], number, action, actor, target, json.dumps(details, default=str), tenants
        )
