"""Changing dead deliveries by an operator's hand; each change is recorded in the transaction that makes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.errors import NotFound, OperationUnavailable
from fastapi_events.model.identity import new_id
from fastapi_events.store.database import Database
from fastapi_events.store.readings import UNREACHABLE
from fastapi_events.store.statements import Statements

_BUSY = (
    "One of these deliveries, or another with its idempotency key, is being handled or changed by somebody else at "
    "this moment. Nothing was changed; try again."
)
Tenants = Sequence[str] | None
"""Whose deliveries an operator may see and change; None is everybody's."""
NO_TENANTS: Sequence[str] = ()
"""Whom an action concerned that was no tenant's affair: staff alone finds it in the record."""


@dataclass(frozen=True, slots=True)
class _Change:
    """An action: its name in the record, its statement with what that takes after the ids, and what follows it."""

    action: str
    statement: str
    arguments: tuple[Any, ...] = ()
    then: str | None = None


class DeadLetterStore:
    """Redrives and discards dead deliveries, and keeps the record of who did so."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self.database, self.statements = database, statements

    async def redrive(
        self, ids: Sequence[UUID], *, actor: str, details: Mapping[str, Any], tenants: Tenants = None
    ) -> list[UUID]:
        """Put those of the deliveries that are dead back to waiting; returns the ones changed.

        Raises ``NotFound``, and changes nothing, if one of them is not of these tenants (None: everybody's).
        """
        change = _Change("redrive", "redrive_deliveries", then="remove_tombstones")
        return await self._change(change, ids, actor, details, tenants)

    async def discard(
        self, ids: Sequence[UUID], *, reason: str, actor: str, details: Mapping[str, Any], tenants: Tenants = None
    ) -> list[UUID]:
        """Give those of the deliveries that are dead up for good; returns the ones changed. Raises as ``redrive``."""
        return await self._change(_Change("discard", "discard_deliveries", (reason,)), ids, actor, details, tenants)

    async def matching(
        self, group_id: int, *, handler: str | None, event_name: str | None, fingerprint: str | None,
        changed_before: datetime, limit: int, tenants: Tenants = None,
    ) -> list[UUID]:  # fmt: skip
        """Dead deliveries of a group that match, oldest first."""
        with explained():
            rows = await self.database.fetch(
                self.statements["find_dead_deliveries"],
                group_id, handler, event_name, fingerprint, changed_before, limit, tenants,
            )  # fmt: skip
        return [row["id"] for row in rows]

    async def handler_names(self, group_id: int) -> list[str]:
        """The ids of every handler of a group, those that are retired too."""
        with explained():
            rows = await self.database.fetch(self.statements["list_handlers"], group_id)
        return [row["name"] for row in rows]

    async def actions(self, limit: int, tenants: Tenants = None) -> list[Any]:
        """The newest actions; of those, what concerned nobody but these tenants."""
        with explained():
            return await self.database.fetch(self.statements["list_actions"], limit, tenants)

    async def _change(
        self, change: _Change, ids: Sequence[UUID], actor: str, details: Mapping[str, Any], tenants: Tenants
    ) -> list[UUID]:
        with explained():
            async with self.database.acquire() as connection, self.database.steered(connection):
                # An operator who was told that it is done must find it done after a crash of the server. A plan that
                # was made when there were few dead letters is not kept for when there are many.
                await connection.execute(
                    "SET LOCAL synchronous_commit = on; SET LOCAL plan_cache_mode = force_custom_plan"
                )
                if tenants is not None:
                    await self._check(connection, ids, tenants)
                return await self._carry_out(connection, change, list(ids), actor, details)

    async def _check(self, connection: Any, ids: Sequence[UUID], tenants: Sequence[str]) -> None:
        """Each id, here and now; whose a delivery is does not change."""
        foreign = await connection.fetchval(self.statements["find_foreign_deliveries"], ids, tenants)
        if foreign is not None:
            raise NotFound(f"There is no delivery {foreign}. Nothing was changed.")

    async def _carry_out(
        self, connection: Any, change: _Change, ids: list[UUID], actor: str, details: Mapping[str, Any]
    ) -> list[UUID]:
        rows = await connection.fetch(self.statements[change.statement], ids, *change.arguments)
        changed = [row["id"] for row in rows]
        if change.then is not None:
            await connection.execute(self.statements[change.then], changed)
        concerned = await connection.fetch(self.statements["find_tenants_of_deliveries"], ids)
        target = str(ids[0]) if len(ids) == 1 else f"{len(ids)} deliveries"
        facts = {**details, "asked": len(ids), "changed": [str(one) for one in changed[:1000]]}
        await connection.execute(
            self.statements["record_action"], new_id(), change.action, actor, target,
            json.dumps(facts, default=str), [row["tenant"] for row in concerned],
        )  # fmt: skip
        return changed


@contextlib.contextmanager
def explained(busy: str = _BUSY) -> Generator[None]:
    """Raise ``OperationUnavailable`` for what may be tried again; ``busy``: what to say if a row is locked."""
    try:
        yield
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise OperationUnavailable(busy) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise OperationUnavailable(f"The database role may not change the events: {error}.") from error
    except (*UNREACHABLE, asyncpg.ReadOnlySQLTransactionError) as error:  # a time-out is an OSError too
        raise OperationUnavailable(
            f"The database does not answer or cannot be changed now ({type(error).__name__}). Look whether it was done "
            "before you try again."
        ) from error
