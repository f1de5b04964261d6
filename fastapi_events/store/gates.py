"""What keeps handlers from being called, as the database knows it: breakers that are open, and what is paused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi_events.model.breaker import Breaker
from fastapi_events.model.identity import new_id
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import NO_TENANTS, explained
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker after a failure: ``opened`` says that this failure opened it, ``probe_in`` is in seconds."""

    is_open: bool
    opened: bool
    probe_in: float


class GateStore:
    """Breakers and pauses of one database."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def paused_lanes(self, group: int) -> frozenset[int]:
        """The lanes that nobody of the group is to read."""
        rows = await self._database.fetch(self._statements["read_pauses"], group)
        return frozenset(rows[0]["paused_lanes"]) if rows else frozenset()

    async def failed(self, handler: int, count: int, policy: Breaker, *, after_success: bool) -> BreakerState:
        """Note failures of a handler; ``after_success`` if it has succeeded since those noted before."""
        rows = await self._database.fetch(
            self._statements["record_failures"],
            handler, count, after_success, policy.threshold, policy.window, policy.recovery,
        )  # fmt: skip
        return BreakerState(rows[0]["is_open"], rows[0]["opened"], rows[0]["probe_in"] or 0.0)

    async def close(self, handler: int) -> bool:
        """Close a breaker; False if it was closed."""
        return bool(await self._database.fetch(self._statements["close_breaker"], handler))

    async def take_probes(
        self, recoveries: Mapping[int, float], reads: Mapping[int, int], paused_lanes: Collection[int]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """Of these handlers, those that this process may try once, and those whose breakers are not open at all.

        Each comes with the seconds until it may be tried again; ``reads`` has for each the newest version that this
        process can give it.
        """
        newest = [reads[handler] for handler in recoveries]
        rows = await self._database.fetch(
            self._statements["take_probes"], list(recoveries), list(recoveries.values()), newest, list(paused_lanes)
        )
        taken = frozenset(row["handler_id"] for row in rows if row["taken"])
        return taken, frozenset(row["handler_id"] for row in rows if not row["taken"])

    async def pause_handler(self, group: int, name: str, *, paused: bool, **record: Any) -> bool | None:
        """Pause a handler or let it go on; whether that changed anything, and None if there is no such handler."""
        rows = await self._recorded("pause_handler", (group, name, paused), **record)
        return rows[0]["changes"] if rows else None

    async def pause_lanes(self, group: int, lanes: Sequence[int], *, paused: bool, **record: Any) -> bool:
        """Pause lanes or let them go on; whether that changed anything."""
        rows = await self._recorded("pause_lanes", (group, list(lanes), paused), **record)
        return bool(rows and rows[0]["changes"])

    async def set_pool(self, group: int, name: str, number: int | None, **record: Any) -> bool:
        """Say how much of a pool is done at once in each process (None: what its settings say); whether it changed."""
        rows = await self._recorded("set_pool", (group, name, number), **record)
        return bool(rows and rows[0]["changes"])

    async def reset_breaker(self, handler: int, **record: Any) -> bool:
        """Close a breaker by an operator's hand; False if it was closed."""
        return bool(await self._recorded("close_breaker", (handler,), **record))

    async def _recorded(
        self, statement: str, arguments: tuple[Any, ...], *, action: str, actor: str, target: str,
        details: Mapping[str, Any],
    ) -> list[Any]:  # fmt: skip
        """Run it and record who asked for it, in one transaction that is on disk when it returns."""
        with explained():
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute("SET LOCAL synchronous_commit = on")
                rows: list[Any] = await connection.fetch(self._statements[statement], *arguments)
                await connection.execute(
                    self._statements["record_action"], new_id(), action, actor, target,
                    json.dumps(details, default=str), NO_TENANTS,
                )  # fmt: skip
        return rows
