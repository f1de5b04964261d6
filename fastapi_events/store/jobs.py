"""A group's jobs as the database knows them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi_events.store.database import Database
from fastapi_events.store.renames import former_names, rows_of, rows_to_take
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class JobRow:
    """What a process says of a job when it registers it."""

    name: str
    pool: str
    was: tuple[str, ...] = ()
    announces: bool = False


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job of the group, whether or not this process has it."""

    id: int
    name: str
    former_names: tuple[str, ...]
    pool: str
    paused: bool
    revision: int = 0


class JobStore:
    """Registers a group's jobs."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def register(self, group_id: int, jobs: Iterable[JobRow]) -> dict[str, KnownJob]:
        """Make the jobs known, and return the group's by the names under which this process knows them."""
        given = {job.name: job for job in jobs}
        if not given:
            return {}
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute("SET LOCAL lock_timeout = '10s'")  # many processes may start at the same moment
            await connection.execute(self._statements["lock_group"], group_id)
            held = await self._read(connection, group_id)
            rows = rows_to_take({job.name: job.was for job in given.values()}, held)
            entries = [_entry(job, rows.get(job.name)) for job in given.values()]
            await connection.execute(self._statements["jobs/register_jobs"], group_id, json.dumps(entries))
            return rows_of(given, await self._read(connection, group_id))

    async def known(self, group_id: int, names: Iterable[str]) -> dict[str, KnownJob]:
        """The group's jobs of these names as they are now."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            return rows_of(names, await self._read(connection, group_id))

    async def _read(self, connection: Any, group_id: int) -> list[KnownJob]:
        return [
            KnownJob(row["id"], row["name"], tuple(row["former_names"]), row["pool"], row["paused"], row["revision"])
            for row in await connection.fetch(self._statements["jobs/list_jobs"], group_id)
        ]


def _entry(job: JobRow, row: KnownJob | None) -> dict[str, Any]:
    name, former = former_names(job.name, job.was, row) if row else (job.name, list(job.was))
    return {
        "id": row.id if row else None,
        "name": name,
        "former_names": former,
        "pool": job.pool,
        "announces": job.announces,
    }
