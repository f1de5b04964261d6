"""Runs as they are read and looked after by people and by whoever started them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.model.job import ReplayFrom
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import explained
from fastapi_events.store.redrives import Anew, Redrives
from fastapi_events.store.runs import id_array
from fastapi_events.store.statements import Statements

_BUSY = (
    "This run is being changed by somebody else, or a transaction that starts one of its key has not ended. Nothing "
    "was changed; try again."
)
ENDED = ("completed", "failed", "timed_out", "canceled")
RUNNING = ("x",)
"""As what the queue has a run that is at work."""
PUT_OFF = ("t", "w", "g")
"""As what the queue has one that waits for something, so that nobody may claim it."""
PENDING = ("r", *PUT_OFF)

OF_SCOPE_AT_ONCE = 1_000
"""Runs of one thing that are changed by one statement, at most."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs, and from where on: ``after`` is the place of the last one seen. ``jobs`` are numbers."""

    jobs: Sequence[int] = ()
    state: str | None = None
    scope: tuple[str, str] | None = None
    after: int | datetime | None = None
    limit: int = 50
    tenant: str | None = None
    """Whose, of a thing's; None for whosever."""


class RunReadings:
    """Reads runs, cancels them, and lets them begin anew, on bookkeeping connections."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._statements = {name: statements[f"jobs/{name}"] for name in _NAMES}
        self._durably, self._redrives = statements["keep_durably"], Redrives(statements)

    async def find(self, run_id: UUID) -> Any | None:
        """The run's row; None if there is none."""
        rows = await self._database.fetch(self._statements["read_runs"], [run_id])
        return rows[0] if rows else None

    async def page(self, wanted: RunFilter) -> list[tuple[Any, int | datetime]]:
        """The rows of runs, each with its place in the list."""
        places = {row["id"]: row["place"] for row in await self._places(wanted)}
        rows = {row["id"]: row for row in await self._database.fetch(self._statements["read_runs"], list(places))}
        return [(rows[run_id], place) for run_id, place in places.items() if run_id in rows]

    async def cancel(self, run_ids: Sequence[UUID], reason: str) -> dict[UUID, bool]:
        """Cancel runs; of each that had not ended, whether it has now. The others are being told."""
        async with self._beginning() as connection:
            await connection.fetch(self._statements["lock_families"], id_array(run_ids))
            rows = await connection.fetch(self._statements["cancel_runs"], sorted(run_ids), reason)
        return {row["run_id"]: row["ended"] for row in rows}

    async def reschedule(self, run_ids: Sequence[UUID], delay: float | None, at: datetime | None) -> int:
        """Put runs off, or bring them forward, that have not begun; returns how many."""
        return len(await self._write("reschedule_runs", sorted(run_ids), delay, at))

    async def open_of_scope(
        self, scope: str, scope_id: str, jobs: Sequence[int], tenant: str | None, after: int
    ) -> list[Any]:
        """The next of the runs of a thing that have not ended, by their numbers."""
        return await self._fetch("find_open_runs_of_scope", scope, scope_id, jobs, tenant, after, OF_SCOPE_AT_ONCE)

    async def signal(self, run_id: UUID, name: str, payload: str) -> bool:
        """Send a signal; False if there is no such run that has not ended."""
        async with self._beginning() as connection:
            if not await connection.fetch(self._statements["lock_run"], run_id):
                return False
            await connection.execute(self._statements["send_signal"], run_id, name, payload)
        return True

    async def redrive(self, run_id: UUID) -> Anew:
        """Let a run begin anew that has ended without success, where it is; or name who is in its way."""
        async with self._beginning() as connection:
            locked = await self._redrives.lock(connection, [run_id], completed=False)
            return await self._redrives.begin(connection, locked)

    async def replay(self, run_id: UUID, start: ReplayFrom) -> Anew:
        """Let a run begin again from there, however it has ended; or name who is in its way."""
        async with self._beginning() as connection:
            locked = await self._redrives.lock(connection, [run_id], completed=True)
            anew = await self._redrives.begin(connection, locked)
            if anew.begun:
                await connection.execute(self._statements["forget_steps"], anew.begun, start)
        return anew

    @contextlib.asynccontextmanager
    async def _beginning(self) -> AsyncGenerator[Any]:
        """A transaction that is on disk when it ends, and waits for nobody for long."""
        with explained(_BUSY):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute(self._durably)
                yield connection

    async def _places(self, wanted: RunFilter) -> list[Any]:
        after, limit, jobs = wanted.after, wanted.limit, list(wanted.jobs)
        if wanted.scope is not None:
            return await self._fetch("list_own_runs_of_scope", *wanted.scope, jobs, wanted.tenant, after, limit)
        if wanted.state in ENDED:
            return await self._fetch("list_ended_runs", jobs, after, limit, wanted.state, None)
        if wanted.state is not None:
            queued = RUNNING if wanted.state == "running" else PENDING
            return await self._fetch("list_waiting_runs", jobs, after, limit, list(queued))
        return await self._fetch("list_started_runs", jobs, after, limit)

    async def _fetch(self, name: str, *arguments: Any) -> list[Any]:
        return await self._database.fetch(self._statements[name], *arguments)

    async def _write(self, name: str, *arguments: Any) -> list[Any]:
        async with self._beginning() as connection:
            rows: list[Any] = await connection.fetch(self._statements[name], *arguments)
        return rows


_NAMES = (
    "read_runs", "cancel_runs", "lock_families", "forget_steps", "list_started_runs", "list_waiting_runs",
    "list_ended_runs",
    "list_own_runs_of_scope", "lock_run", "reschedule_runs", "find_open_runs_of_scope", "send_signal",
)  # fmt: skip
