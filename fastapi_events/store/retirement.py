"""Retiring a handler by hand, and giving up what waits for it; recorded in the transaction that does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi_events.model.identity import new_id
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import NO_TENANTS, explained
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class Retirement:
    """What was found of a handler, and whether it was retired now: ``retired_at`` is set without if it was before.

    ``processes`` counts live ones that run it.
    """

    known: bool
    processes: int = 0
    retired_at: datetime | None = None
    now: bool = False


class RetirementStore:
    """Retires handlers of a group."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def retire(
        self, group_id: int, name: str, *, although_live: bool, actor: str, details: Mapping[str, Any]
    ) -> Retirement:
        """Retire a handler, unless it is retired already or, without ``although_live``, a live process runs it."""
        with explained():
            return await self._retire(group_id, name, although_live, actor, details)

    async def _retire(
        self, group_id: int, name: str, although_live: bool, actor: str, details: Mapping[str, Any]
    ) -> Retirement:
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute("SET LOCAL synchronous_commit = on")
            # A process that starts at this moment registers its handlers before or after, never in between.
            await connection.execute(self._statements["lock_group"], group_id)
            found = await connection.fetchrow(self._statements["find_handler"], group_id, name)
            if found is None:
                return Retirement(known=False)
            processes = int(found["processes"])
            if found["retired_at"] is not None or (processes and not although_live):
                return Retirement(True, processes, found["retired_at"])
            retired_at = await connection.fetchval(self._statements["retire_handler"], found["id"])
            facts = json.dumps({**details, "live_processes": processes}, default=str)
            await connection.execute(
                self._statements["record_action"], new_id(), "retire", actor, name, facts, NO_TENANTS
            )
        return Retirement(True, processes, retired_at, now=True)

    async def discard_waiting(
        self, group_id: int, name: str, *, limit: int, reason: str, actor: str, details: Mapping[str, Any]
    ) -> int:
        """Give up to ``limit`` deliveries up that wait for a retired handler; returns how many it were."""
        with explained():
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute("SET LOCAL synchronous_commit = on")
                found = await connection.fetchrow(self._statements["find_handler"], group_id, name)
                if found is None or found["retired_at"] is None:
                    return 0
                rows = await connection.fetch(self._statements["discard_waiting"], found["id"], reason, limit)
                if rows:
                    facts = json.dumps({**details, "waiting": [str(row["id"]) for row in rows]}, default=str)
                    await connection.execute(
                        self._statements["record_action"],
                        new_id(),
                        "discard",
                        actor,
                        f"handler:{name}",
                        facts,
                        NO_TENANTS,
                    )
        return len(rows)
