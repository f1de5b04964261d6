"""What there is to do about jobs, found by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements
from fastapi_events.store.waits import MOVED_ON

WAITS_LOOKED_AT = 100
"""Waits for events that are looked at with the rest. Where there are more, that is a statement of its own."""


class Work(NamedTuple):
    """What was found. Seconds are those until a moment, None if there is none."""

    due: float | None
    """Until the next run is due, or a lease is over."""
    scheduled: float | None
    """Until the next scheduled event is due."""
    tick: float | None
    """Until the next tick of the schedules."""
    canceled: bool
    """Whether runs are to be ended that nobody runs."""
    gated: frozenset[int]
    """Jobs of which runs wait at gates."""
    ready: frozenset[int]
    """Jobs of which runs can be claimed, or that have a turn."""
    awaited: frozenset[int] | None
    """Where events would be stored that runs wait for; None if that was too much to look at."""
    met: bool
    """Whether something is to be done about such a wait."""


class WorkStore:
    """The statement."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statement = database, statements["jobs/find_work"]

    async def find(self, jobs: Sequence[int], limited: Sequence[int], schedules: Sequence[int]) -> Work:
        """Look everywhere; ``limited`` are those of the ``jobs`` that have gates."""
        [row] = await self._database.fetch(self._statement, jobs, limited, schedules, WAITS_LOOKED_AT, MOVED_ON)
        return Work(
            row["due_seconds"], row["scheduled_seconds"], row["tick_seconds"], row["canceled"],
            frozenset(row["gated"]), frozenset(row["ready"]),
            frozenset(row["awaited"]) if row["waits"] < WAITS_LOOKED_AT else None, row["met"],
        )  # fmt: skip
