"""How much each process of a group does at once, by pool, where an operator has said so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import explained
from fastapi_events.store.statements import Statements


class SaidOfPools(NamedTuple):
    """Numbers by pool, over those of the settings, and the revision of it all."""

    numbers: dict[str, int]
    revision: int


class PoolStore:
    """Reads what operators have said of pools; the store of gates writes it."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def read(self, group: int) -> SaidOfPools:
        """What holds now."""
        rows = await self._database.fetch(self._statements["read_pools"], group)
        said = {row["name"]: row["concurrency"] for row in rows if row["concurrency"] is not None}
        return SaidOfPools(said, max((row["revision"] for row in rows), default=0))

    async def names(self, group: int) -> Sequence[str]:
        """The pools that the group's jobs and live processes have, and those of which something was said."""
        with explained():
            rows = await self._database.fetch(self._statements["read_pool_names"], group)
        return [row["name"] for row in rows]
