"""Upkeep of the tables: bounded statements that never wait for traffic and that traffic never waits for."""

from __future__ import annotations

import logging
from typing import Any

import asyncpg

from fastapi_events.store.database import Database
from fastapi_events.store.schema import quoted
from fastapi_events.store.statements import Statements

logger = logging.getLogger("fastapi_events")

_LOCK = 4_703_219_587_113_002


class UpkeepStore:
    """Trims cursors, prunes what is over, seals segments of the log and adds new ones before they are needed."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def tidy(self) -> bool:
        """One round; False if another process is at it."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
                return False
            for name in ("trim_cursors", "prune_parked_keys", "prune_workers"):
                await connection.execute(self._statements[name])
        await self.extend_log()
        return True

    async def extend_log(self) -> None:
        """Seal the segments that are full, and see to it that one and a half segments are left to write into."""
        async with self._database.acquire() as connection:
            end = await connection.fetchrow(self._statements["read_log_end"])
            if end is None:
                return
            await connection.execute(self._statements["seal_segments"], end["position"])
            if end["reach"] - end["position"] < end["size"] * 3 // 2:
                await self._add_segment(connection, end["reach"], end["reach"] + end["size"])

    async def _add_segment(self, connection: asyncpg.Connection[Any], lower: int, upper: int) -> None:
        """Make a partition and attach it: unlike creating it in place, that does not lock publishers out."""
        schema = quoted(self._statements.schema)
        name = f"{schema}.event_{lower}"
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '2s'")
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (LIKE {schema}.event INCLUDING DEFAULTS)")
                bounds = f"FROM ({int(lower)}) TO ({int(upper)})"
                await connection.execute(f"ALTER TABLE {schema}.event ATTACH PARTITION {name} FOR VALUES {bounds}")
                await connection.execute(self._statements["add_segment"], lower, upper)
        except asyncpg.InsufficientPrivilegeError:
            logger.warning(
                "The event log has room up to position %d and this role may not extend it. "
                "Run 'fastapi-events db maintain' as the owner of the schema %s.", lower, schema,
            )  # fmt: skip
        except asyncpg.DuplicateTableError:
            logger.debug("segment %s was attached by another process", name)
