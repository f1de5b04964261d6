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
        """Take the group's places in the log away, retire its handlers and cancel their replays, in one transaction.

        The record of it all is in that transaction. Raises ``OperationRefused`` if there is no such group, or one of
        its processes is alive.
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
            replays = await connection.fetch(self._statements["remove_group"], group_id)
            record = self._statements["record_action"]
            for replay in replays:
                facts = {"reason": f"its group was removed: {reason}", "replay": str(replay["id"]), "changed": True}
                tenants = list(replay["tenants"] or ())
                await connection.execute(
                    record, new_id(), "cancel_replay", actor, replay["handler"], json.dumps(facts), tenants
                )
            facts = {"reason": reason, "group_id": group_id, "replays": [str(replay["id"]) for replay in replays]}
            await connection.execute(record, new_id(), "remove_group", actor, name, json.dumps(facts), NO_TENANTS)
