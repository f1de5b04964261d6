"""Removing a consumer group for good, by an operator's hand."""

from __future__ import annotations

import json

from fastapi_events.errors import OperationRefused
from fastapi_events.model.identity import new_id
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import NO_TENANTS, explained
from fastapi_events.store.statements import Statements


class GroupRemoval:
    """Ends a group, and keeps the record of who did so."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def remove(self, name: str, *, actor: str, reason: str) -> None:
        """Take the group's places in the log away and retire its handlers, in one transaction with its record.

        Raises ``OperationRefused`` if there is no such group, or one of its processes is alive.
        """
        with explained():
            await self._remove(name, actor, reason)

    async def _remove(self, name: str, actor: str, reason: str) -> None:
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute("SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '2s'")
            group_id = await connection.fetchval(self._statements["take_group"], name)
            if group_id is None:
                raise OperationRefused(
                    f"There is no consumer group {name!r}. 'fastapi-events groups list' has the names."
                )
            alive = await connection.fetchval(self._statements["count_group_workers"], group_id)
            if alive:
                raise OperationRefused(
                    f"The group {name!r} has {alive} live process{'' if alive == 1 else 'es'}. Stop them first; one "
                    "that was killed counts until its lease has run out."
                )
            await connection.execute(self._statements["remove_group"], group_id)
            facts = json.dumps({"reason": reason, "group_id": group_id})
            await connection.execute(
                self._statements["record_action"], new_id(), "remove_group", actor, name, facts, NO_TENANTS
            )
