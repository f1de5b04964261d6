"""The log's segments: making room before it is needed, and dropping what is past its age as a whole.

A segment is a table of its own, cut by position. How wide the next one is follows from how fast the log has grown, so
that one holds about a tenth of what retention keeps. See ``docs/architecture.md`` for why.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import asyncpg

from fastapi_events.store.database import Database
from fastapi_events.store.schema import quoted
from fastapi_events.store.statements import Statements

logger = logging.getLogger("fastapi_events")

SEGMENTS_KEPT = 10
"""Into how many segments the kept history is to fall."""
WIDEST = 16
"""How many times the installation's segment size a segment may hold."""
EXTEND_LOCK = 4_703_219_587_113_002
_SPAN_WITHOUT_RETENTION = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of positions with a table of its own; ``over`` says that nobody can write to it any more."""

    lower: int
    upper: int
    over: bool
    dropping: bool


@dataclass(frozen=True, slots=True)
class SegmentAge:
    """How many seconds ago the oldest and the newest event of a segment were published (None if it is empty), and its
    first and last position that hold one."""

    oldest: float | None
    newest: float | None
    first: int
    last: int

    def is_past(self, age: float) -> bool:
        """Whether everything in it is older."""
        return self.newest is None or self.newest > age


class SegmentStore:
    """Adds segments to the log and takes old ones away."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements
        self._schema = quoted(statements.schema)
        self._told = False

    async def segments(self) -> list[Segment]:
        """All segments, lowest first."""
        rows = await self._database.fetch(self._statements["list_segments"])
        return [Segment(row["lower"], row["upper"], row["over"], row["dropping"]) for row in rows]

    async def age(self, segment: Segment) -> SegmentAge:
        """How old its events are."""
        [row] = await self._database.fetch(self._statements["read_segment_age"], segment.lower, segment.upper)
        return SegmentAge(row["oldest"], row["newest"], row["first"] or 0, row["last"] or -1)

    async def extend(self, history: float | None) -> None:
        """Seal the segments that are full, and see to it that one and a half segments are left to write into.

        ``history`` is how many seconds events are kept; None is for ever.
        """
        async with self._database.acquire() as connection:
            end = await connection.fetchrow(self._statements["read_log_end"])
            if end is None:
                return
            await connection.execute(self._statements["seal_segments"], end["position"])
            if end["reach"] - end["position"] >= end["size"] * 3 // 2:
                return
            since = max(end["position"] - end["size"], 0)
            took = await connection.fetchval(self._statements["read_span"], since)
            width = _width(end["size"], end["position"] - since, took, history)
            await self._add(connection, end["reach"], end["reach"] + width)

    async def drop(self, segment: Segment) -> bool:
        """Take a segment out of the log and drop its table; False if that is not possible now.

        Taking it out locks everybody out of the log for a moment: it is given up after a tenth of a second, in which
        who comes later waits behind it. The table is dropped after that, which concerns nobody.
        """
        name = self._table(segment.lower)
        try:
            async with self._database.acquire() as connection:
                if not segment.dropping:
                    async with connection.transaction():
                        await connection.execute("SET LOCAL lock_timeout = '100ms'")
                        if not await connection.fetchval(self._statements["mark_segment_dropping"], segment.lower):
                            return False
                        await connection.execute(f"ALTER TABLE {self._schema}.event DETACH PARTITION {name}")
                async with connection.transaction():
                    await connection.execute("SET LOCAL lock_timeout = '2s'")
                    await connection.execute(f"DROP TABLE IF EXISTS {name}")
                    await connection.execute(self._statements["remove_segment"], segment.lower)
        except asyncpg.InsufficientPrivilegeError:
            if not self._told:
                self._told = True
                logger.warning(
                    "The event log has a segment past history_retention, and this role may not drop it. Run "
                    "'fastapi-events db maintain' as the owner of the schema %s, best once a day.", self._schema,
                )  # fmt: skip
            return False
        except asyncpg.LockNotAvailableError:
            logger.debug("segment %s is in use; it is dropped in a later round", name)
            return False
        logger.info("dropped the log's segment %s, positions %d to %d", name, segment.lower, segment.upper - 1)
        return True

    async def _add(self, connection: asyncpg.Connection[Any], lower: int, upper: int) -> None:
        """Make a partition and attach it: unlike creating it in place, that does not lock publishers out."""
        name = self._table(lower)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '2s'")
                await connection.execute("SELECT pg_advisory_xact_lock($1)", EXTEND_LOCK)
                parent = f"{self._schema}.event"
                await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (LIKE {parent} INCLUDING DEFAULTS)")
                bounds = f"FROM ({int(lower)}) TO ({int(upper)})"
                await connection.execute(f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES {bounds}")
                await connection.execute(self._statements["add_segment"], lower, upper)
        except asyncpg.InsufficientPrivilegeError:
            logger.warning(
                "The event log has room up to position %d and this role may not extend it. "
                "Run 'fastapi-events db maintain' as the owner of the schema %s.", lower, self._schema,
            )  # fmt: skip
        except asyncpg.DuplicateTableError:
            logger.debug("segment %s was attached by another process", name)

    def _table(self, lower: int) -> str:
        return f"{self._schema}.event_{int(lower)}"


def _width(size: int, grown: int, took: float | None, history: float | None) -> int:
    """How many positions the next segment has: as many as the log takes for a tenth of what is kept, in whole sizes."""
    if not took or took <= 0 or grown <= 0:
        return size
    wanted = (history or _SPAN_WITHOUT_RETENTION) / SEGMENTS_KEPT * grown / took
    return size * min(max(round(wanted / size), 1), WIDEST)
