"""Removing what is past its age, in small transactions that neither wait nor are waited for.

Nothing here loops over time: each call is one short transaction, and ``engine/pruning.py`` decides how many of them a
round may have. What must not go is decided by each statement itself, from the cursors and deliveries it sees.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

ROWS_AT_ONCE = 1_000
"""Rows that one transaction removes: some ten milliseconds."""
PAGES_AT_ONCE = 32
"""Pages of a table that one transaction looks through."""
SWEPT = ("processing_mark", "delivery", "success_batch", "event_key", "run_end")
"""The tables that are swept page by page."""
REPLAY_KEEPS = 7 * 86_400.0
"""Seconds for which a replay that does not move keeps the log from shrinking."""
_MOST_WAITING = 10_000
_HIGHEST = 2**63 - 1
_LOCK = 4_703_219_587_113_003
# A row that somebody holds, or a lock that is not to be had at once, is left for the next round. Each statement is
# planned for what it is given: they are rare, and tables change beyond recognition in between.
_POLITELY = (
    "SELECT pg_try_advisory_xact_lock($1), set_config('lock_timeout', '100ms', true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true)"
)


class AnotherIsAtIt(Exception):
    """Another process prunes at this moment."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How long things are kept, in seconds; None is for ever."""

    history: float | None
    dead_letters: float | None
    processing: float | None
    dedupe: float | None


@dataclass(frozen=True, slots=True)
class UnreadGroup:
    """A group, and the first event that it has still to read: its position, and how many seconds old it is.

    ``paused``: an operator has paused a lane in which it has such events.
    """

    name: str
    position: int
    published_at: datetime
    age: float
    paused: bool


@dataclass(frozen=True, slots=True)
class KeepingReplay:
    """A replay that keeps the log from shrinking, and the first event that is kept for it, ``age`` seconds old."""

    id: UUID
    handler: str
    group: str
    position: int
    published_at: datetime
    age: float


class RetentionStore:
    """Removes old rows of every table but the log's segments as a whole, which are ``SegmentStore``'s."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def replay_floor(self) -> int | None:
        """The lowest position that a replay has still to read; None if none keeps anything."""
        rows = await self._database.fetch(self._statements["read_replay_floor"], REPLAY_KEEPS)
        position: int | None = rows[0]["position"]
        return position

    async def keeping_replays(self) -> list[KeepingReplay]:
        """The replays that keep something, the one furthest back first."""
        rows = await self._database.fetch(self._statements["read_keeping_replays"], REPLAY_KEEPS)
        return [
            KeepingReplay(
                row["id"], row["handler"], row["group_name"], row["position"], row["published_at"],
                _seconds(row["moment"], row["published_at"]),
            )
            for row in rows
        ]  # fmt: skip

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncGenerator[asyncpg.Connection[Any]]:
        """A transaction in which this process alone prunes; raises ``AnotherIsAtIt``."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            if not await connection.fetchval(_POLITELY, _LOCK):
                raise AnotherIsAtIt
            yield connection

    async def begin_round(self, every: float) -> None:
        """Begin a round; raises ``AnotherIsAtIt`` if one was begun less than ``every`` seconds ago."""
        async with self.batch() as connection:
            if not await connection.fetchval(self._statements["begin_round"], every):
                raise AnotherIsAtIt

    async def unread_groups(self, lower: int = 0, upper: int = _HIGHEST) -> list[UnreadGroup]:
        """The groups that have still to read something between two positions, the one furthest back first."""
        async with self.batch() as connection:
            rows = await connection.fetch(self._statements["read_unread_groups"], lower, upper)
        return [
            UnreadGroup(
                row["name"],
                row["position"],
                row["published_at"],
                _seconds(row["moment"], row["published_at"]),
                row["paused"],
            )
            for row in rows
        ]

    async def prune_events(self, lower: int, upper: int, age: float) -> tuple[int, int]:
        """Remove the old events between two positions of a segment that everybody has read.

        Returns how many were removed, and how many are too young.
        """
        async with self.batch() as connection:
            [row] = await connection.fetch(self._statements["prune_events"], lower, upper, age)
        return row["removed"], row["young"]

    async def copy_waiting(self, after: int, below: int) -> int | None:
        """Copy events to some deliveries that wait for them; returns where to go on, None at the end."""
        async with self.batch() as connection:
            [row] = await connection.fetch(self._statements["copy_waiting_events"], after, below, ROWS_AT_ONCE)
        # Several handlers may have a delivery at the last position: it is looked at again.
        return None if row["looked"] < ROWS_AT_ONCE else row["last"] - 1

    async def mark_limits(self) -> list[tuple[int, str, datetime | None]]:
        """Every handler with its group, and the oldest event that waits for it or is dead."""
        async with self.batch() as connection:
            rows = await connection.fetch(self._statements["read_mark_limits"], _MOST_WAITING)
        return [(row["id"], row["group_name"], row["oldest"]) for row in rows]

    async def give_up_removed(self) -> int:
        """Give up some of what waits for groups that were removed; returns how much."""
        async with self.batch() as connection:
            given_up: int = await connection.fetchval(self._statements["abandon_deliveries"], ROWS_AT_ONCE)
        return given_up

    async def sweep_places(self) -> dict[str, tuple[int, int]]:
        """For each table that is swept, the page at which its sweep goes on, and the number of its pages."""
        async with self.batch() as connection:
            rows = await connection.fetch(self._statements["read_sweeps"], SWEPT)
        return {row["name"]: (row["next_page"], row["pages"]) for row in rows}

    async def sweep(self, statement: str, page: int, more: Sequence[Any]) -> int:
        """Remove what is old from some pages of a table; returns the number of rows."""
        async with self.batch() as connection:
            status: str = await connection.execute(self._statements[statement], page, page + PAGES_AT_ONCE, *more)
        return int(status.rsplit(" ", 1)[-1])

    async def save_sweep(self, table: str, page: int) -> None:
        """Remember where the sweep of a table goes on."""
        async with self.batch() as connection:
            await connection.execute(self._statements["save_sweep"], table, page)


def _seconds(moment: datetime, since: datetime) -> float:
    return (moment - since).total_seconds()
