"""What runs wait for: signals, and events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.statements import Statements

MOVED_ON = 1_000
"""Transactions that the snapshot of a wait may be behind before it is moved on."""
LOOKED_AT = 500
"""Waits that are looked at by one statement, at most."""
_FIRST = UUID(int=0), ""
"""Before every wait, as they are walked."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """An event that is waited for: its name, its whole ordering key, where it would be stored, how people call it."""

    name: str
    key: str | None
    places: Sequence[int]
    source: str


class Matched(NamedTuple):
    """How many runs go on, and whether one would that somebody has locked."""

    met: int
    held_up: bool = False


class WaitStore:
    """Waits of runs that are at work here, and what ends waits of any."""

    def __init__(self, database: Database, statements: Statements, *, worker: UUID) -> None:
        self._database, self._worker = database, worker
        self._statements = {name: statements[f"jobs/{name}"] for name in _NAMES}

    async def take_signal(
        self, claim: RunClaim, step: str, number: int, name: str, timeout: float | None
    ) -> tuple[Any, int] | None:  # fmt: skip
        """The step, done or waiting, and the run's news; None if the run is not this worker's any more."""
        return await self._locked(claim, "take_signal", step, number, name, timeout)

    async def await_event(
        self, claim: RunClaim, step: str, number: int, awaited: Awaited, timeout: float | None
    ) -> tuple[Any, int] | None:  # fmt: skip
        """The same of a step that waits for an event."""
        return await self._locked(
            claim, "await_event", step, number, awaited.name, awaited.key, list(awaited.places), timeout, awaited.source
        )

    async def match(self, places: Collection[int] | None) -> Matched:
        """Give events to runs that wait for them. ``places`` limit the search."""
        given = None if places is None else list(places)
        met, held_up, after = 0, False, _FIRST
        while True:
            statement = self._statements["match_waits"]
            [row] = await self._database.fetch(statement, given, MOVED_ON, LOOKED_AT, *after)
            met, held_up = met + row["met"], held_up or row["held_up"]
            if row["looked"] < LOOKED_AT:
                return Matched(met, held_up)
            after = row["run_id"], row["name"]

    async def awaited(self) -> frozenset[int]:
        """Where events would be stored that runs wait for."""
        rows = await self._database.fetch(self._statements["read_awaited"])
        return frozenset(row["place"] for row in rows)

    async def _locked(self, claim: RunClaim, name: str, *arguments: Any) -> tuple[Any, int] | None:
        async with self._database.acquire() as connection, self._database.steered(connection):
            own = await connection.fetch(self._statements["lock_own_run"], claim.run_id, claim.token, self._worker)
            if not own:
                return None
            rows = await connection.fetch(self._statements[name], claim.run_id, *arguments)
        return rows[0], own[0]["news"]


_NAMES = ("lock_own_run", "take_signal", "await_event", "match_waits", "read_awaited")
