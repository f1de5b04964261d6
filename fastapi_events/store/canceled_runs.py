"""Ending runs that are to be cancelled and that nobody runs, without waiting for anybody."""

from __future__ import annotations

import random
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

ENDED_AT_ONCE = 1000
"""Runs of either kind that one transaction ends, at most: those cancelled, and those that others have replaced."""
BRIEFLY = "50"
"""Milliseconds for which a lock is waited for."""
WAITED_FOR = 2
"""Of the runs that are left out, those whose relatives are waited for, each so briefly: of a large family at work some
are always locked, one after the other, and never none."""
FIRST = UUID(int=0)


class EndedCanceled(NamedTuple):
    """What has become of what is to be cancelled."""

    ended: int
    """How many runs have ended."""
    held_up: bool
    """Whether some are left, because somebody has a relative of theirs locked."""


class CanceledRuns:
    """The statements. Runs, and then their relatives, are locked where nobody else has them; others are left out."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._lock, self._relatives = statements["jobs/lock_canceled_runs"], statements["jobs/lock_relatives"]
        self._end, self._briefly = statements["jobs/end_canceled_runs"], statements["jobs/wait_briefly"]
        self._families, self._still = statements["jobs/lock_families"], statements["jobs/find_idle_canceled_runs"]

    async def end(self) -> EndedCanceled:
        """End them, and what is to be cancelled because they have ended."""
        count = 0
        while True:
            ended, held_up = await self._walk()
            count += ended
            if not ended:
                return EndedCanceled(count, held_up)

    async def _walk(self) -> EndedCanceled:
        """Once over all, in the order of their ids: those that are left out keep nobody behind them."""
        ended, behind, left = 0, {False: FIRST, True: FIRST}, list[UUID]()
        while True:
            async with self._database.acquire() as connection, self._database.steered(connection):
                found = await connection.fetch(self._lock, ENDED_AT_ONCE, behind[False], behind[True])
                if not found:
                    break
                await connection.execute(self._briefly, BRIEFLY)
                free = [row["run_id"] for row in await connection.fetch(self._relatives, _ids(found))]
                if free:
                    await connection.fetch(self._end, free)
            ended += len(free)
            left += set(_ids(found)).difference(free)
            for row in found:
                behind[row["replaced"]] = max(behind[row["replaced"]], row["run_id"])
        chosen = random.sample(left, min(len(left), WAITED_FOR))
        waited = sum([await self._end_one(run_id) for run_id in chosen])
        return EndedCanceled(ended + waited, held_up=waited < len(left))

    async def _end_one(self, run_id: UUID) -> bool:
        """End one that was left out, if its relatives are to be had within a moment."""
        try:
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute(self._briefly, BRIEFLY)
                await connection.fetch(self._families, f"{{{run_id}}}")
                found = await connection.fetch(self._still, [run_id])
                return bool(found and await connection.fetch(self._end, [run_id]))
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            return False


def _ids(rows: list[Any]) -> list[UUID]:
    return [row["run_id"] for row in rows]
