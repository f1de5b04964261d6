"""Changing runs and jobs by an operator's hand; each change is recorded in the transaction that makes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.errors import NotFound
from fastapi_events.model.edited_input import EditedInput
from fastapi_events.model.identity import new_id
from fastapi_events.model.job import ReplayFrom
from fastapi_events.model.run_failing import NO_REASON
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import NO_TENANTS, Tenants, explained
from fastapi_events.store.redrives import Anew, Conflict, Redrives
from fastapi_events.store.runs import id_array
from fastapi_events.store.statements import Statements

_BUSY = (
    "One of these runs, or the job, is being changed by somebody else at this moment, or a transaction that starts one "
    "of its key has not ended. Nothing was changed; try again."
)


_Then = Callable[[Any, Sequence[UUID]], Awaitable[None]]
"""What follows in the same transaction: on which connection, for which runs."""
Edit = Callable[[Any], EditedInput]
"""What a run is given in place of what it was: of a row of ``input``, ``scope``, ``scope_id`` and ``window_key``."""


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
    """Cancels runs, gives them up, lets them begin again, edits their inputs, pauses jobs."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements
        self._redrives = Redrives(statements)

    async def cancel(self, group: int, act: RunAct) -> list[UUID]:
        """Cancel runs; returns those that had not ended.

        Raises ``NotFound``, here and below, and changes nothing, if one is not of this group and these tenants.
        """
        async with self._acting(group, act) as connection:
            await connection.fetch(self._statements["jobs/lock_families"], id_array(act.ids))
            return await self._change(connection, act, "cancel_runs", act.reason or NO_REASON)

    async def retry(self, group: int, act: RunAct) -> Anew:
        """Let runs that have ended without success go on where their steps are."""
        return await self._anew(group, act, completed=False)

    async def discard(self, group: int, act: RunAct) -> list[UUID]:
        """Give up runs that have failed; returns those that were dead."""
        return await self._act(group, act, "discard_runs", act.reason)

    async def replay(self, group: int, act: RunAct, starts: Mapping[UUID, ReplayFrom]) -> Anew:
        """Let runs that have ended begin again, each from its place."""

        async def forget(connection: Any, begun: Sequence[UUID]) -> None:
            for place in sorted({starts[one] for one in begun}):
                ids = [one for one in begun if starts[one] == place]
                await connection.execute(self._statements["jobs/forget_steps"], ids, place)

        return await self._anew(group, act, completed=True, then=forget)

    async def edit(self, group: int, act: RunAct, edit: Edit, start: ReplayFrom | None) -> bool:
        """Let one run that has ended without success begin again with another input; the one that it had is kept.

        With ``start`` it begins there, else its steps stay done. Returns whether it was in a state that allowed it;
        raises ``RunConflict``.
        """
        run_id, number = act.ids[0], new_id()
        async with self._acting(group, act) as connection:
            locked = await self._redrives.lock(connection, [run_id], completed=False)
            if locked:
                given = edit(await connection.fetchrow(self._statements["jobs/read_given"], run_id))
                await connection.execute(
                    self._statements["jobs/edit_run"], run_id, given.text, number, *(given.scope or (None, None)),
                    given.limits.stored() if given.limits is not None else None,
                )  # fmt: skip
                if given.freed_key is not None:
                    await connection.execute(self._statements["jobs/end_window"], run_id, given.freed_key)
                anew = await self._redrives.begin(connection, [locked[0]._replace(limits=given.asked)])
                anew.check()
                if start is not None:
                    await connection.execute(self._statements["jobs/forget_steps"], [run_id], start)
            await self._record_act(connection, act, number, [run_id] if locked else [])
        return bool(locked)

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

    async def _act(self, group: int, act: RunAct, statement: str, *arguments: Any) -> list[UUID]:
        async with self._acting(group, act) as connection:
            return await self._change(connection, act, statement, *arguments)

    async def _change(self, connection: Any, act: RunAct, statement: str, *arguments: Any) -> list[UUID]:
        rows = await connection.fetch(self._statements[f"jobs/{statement}"], sorted(act.ids), *arguments)
        changed = sorted(row["run_id"] for row in rows)
        await self._record_act(connection, act, new_id(), changed)
        return changed

    async def _anew(self, group: int, act: RunAct, *, completed: bool, then: _Then | None = None) -> Anew:
        async with self._acting(group, act) as connection:
            locked = await self._redrives.lock(connection, act.ids, completed=completed)
            anew = await self._redrives.begin(connection, locked)
            if then is not None and anew.begun:
                await then(connection, anew.begun)
            await self._record_act(connection, act, new_id(), anew.begun, anew.conflicts)
        return anew

    @contextlib.asynccontextmanager
    async def _acting(self, group: int, act: RunAct) -> AsyncGenerator[Any]:
        """A transaction that is on disk when it ends, for runs that are all there."""
        with explained(_BUSY):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute(self._statements["keep_durably"])
                await self._check(connection, group, act.ids, act.tenants)
                yield connection

    async def _check(self, connection: Any, group: int, ids: Sequence[UUID], tenants: Tenants) -> None:
        missing = await connection.fetchval(self._statements["jobs/find_missing_runs"], ids, group, tenants)
        if missing is not None:
            raise NotFound(f"There is no run {missing}. Nothing was changed.")

    async def _record_act(
        self, connection: Any, act: RunAct, number: UUID, changed: Sequence[UUID], conflicts: Sequence[Conflict] = ()
    ) -> None:  # fmt: skip
        concerned = await connection.fetch(self._statements["jobs/find_tenants_of_runs"], list(act.ids))
        facts = {**act.details, "reason": act.reason, "asked": len(act.ids)}
        facts["changed"] = [str(one) for one in changed[:1000]]
        if conflicts:
            facts["conflicts"] = {str(one.run): str(one.rival) for one in conflicts[:1000]}
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
