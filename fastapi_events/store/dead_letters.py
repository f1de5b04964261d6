"""Changing dead deliveries by an operator's hand; each change is recorded in the transaction that makes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.errors import OperationUnavailable
from fastapi_events.model.identity import new_id
from fastapi_events.store.database import Database
from fastapi_events.store.readings import UNREACHABLE
from fastapi_events.store.statements import Statements


class DeadLetterStore:
    """Redrives and discards dead deliveries, and keeps the record of who did so."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def redrive(self, ids: Sequence[UUID], *, actor: str, details: Mapping[str, Any]) -> list[UUID]:
        """Put those of the deliveries that are dead back to waiting; returns the ones changed."""
        return await self._change("redrive", "redrive_deliveries", ids, (), actor, details, then="remove_tombstones")

    async def discard(self, ids: Sequence[UUID], *, reason: str, actor: str, details: Mapping[str, Any]) -> list[UUID]:
        """Give those of the deliveries that are dead up for good; returns the ones changed."""
        return await self._change("discard", "discard_deliveries", ids, (reason,), actor, details)

    async def matching(
        self, group_id: int, *, handler: str | None, event_name: str | None, fingerprint: str | None,
        changed_before: datetime, limit: int,
    ) -> list[UUID]:  # fmt: skip
        """Dead deliveries of a group that match, oldest first."""
        with explained():
            rows = await self._database.fetch(
                self._statements["find_dead_deliveries"],
                group_id, handler, event_name, fingerprint, changed_before, limit,
            )  # fmt: skip
        return [row["id"] for row in rows]

    async def actions(self, limit: int) -> list[Any]:
        """The newest actions."""
        with explained():
            return await self._database.fetch(self._statements["list_actions"], limit)

    async def _change(
        self, action: str, statement: str, ids: Sequence[UUID], more: tuple[Any, ...], actor: str,
        details: Mapping[str, Any], *, then: str | None = None,
    ) -> list[UUID]:  # fmt: skip
        with explained():
            return await self._carry_out(action, statement, ids, more, actor, details, then)

    async def _carry_out(
        self, action: str, statement: str, ids: Sequence[UUID], more: tuple[Any, ...], actor: str,
        details: Mapping[str, Any], then: str | None,
    ) -> list[UUID]:  # fmt: skip
        async with self._database.acquire() as connection, self._database.steered(connection):
            # An operator who was told that it is done must find it done after a crash of the server. A plan that was
            # made when there were few dead letters is not kept for when there are many.
            await connection.execute("SET LOCAL synchronous_commit = on; SET LOCAL plan_cache_mode = force_custom_plan")
            rows = await connection.fetch(self._statements[statement], list(ids), *more)
            changed = [row["id"] for row in rows]
            if then is not None:
                await connection.execute(self._statements[then], changed)
            target = str(ids[0]) if len(ids) == 1 else f"{len(ids)} deliveries"
            facts = {**details, "asked": len(ids), "changed": [str(one) for one in changed[:1000]]}
            await connection.execute(
                self._statements["record_action"], new_id(), action, actor, target, json.dumps(facts, default=str)
            )
        return changed


@contextlib.contextmanager
def explained() -> Generator[None]:
    """Say in an operator's words why a change was not made; raises ``OperationUnavailable``."""
    try:
        yield
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise OperationUnavailable(
            "One of these rows, or another with its idempotency key, is being handled or changed by "
            "somebody else at this moment. Nothing was changed; try again."
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise OperationUnavailable(f"The database role may not change the events: {error}.") from error
    except (*UNREACHABLE, asyncpg.ReadOnlySQLTransactionError) as error:  # a time-out is an OSError too
        raise OperationUnavailable(
            f"The database does not answer or cannot be changed now ({type(error).__name__}). Look whether it was done "
            "before you try again."
        ) from error
