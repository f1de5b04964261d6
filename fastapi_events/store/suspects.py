"""Deliveries that are run alone, because processes have vanished over what they came with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.doubt import Doubt
from fastapi_events.store.parked import KeyClaim
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class CrashRecord:
    """Who has vanished while it ran a delivery alone, and how many others vanished meanwhile for unknown reasons."""

    crashes: int
    accidents: int
    processes: tuple[str, ...]


class SuspectStore:
    """Claims what is to be run alone, and keeps the record of who runs it."""

    def __init__(self, database: Database, statements: Statements, *, worker: UUID, lease: float) -> None:
        self._database, self._statements = database, statements
        self._worker, self._lease = worker, lease
        self._doubt = Doubt(database, statements, worker=worker, lease=lease)

    async def threshold(self, claims: Sequence[KeyClaim]) -> int:
        """From how many crashes on each of these keys is in doubt."""
        return await self._doubt.threshold([claim.crashes for claim in claims])

    async def claim(
        self, handlers: Sequence[int], reads: Mapping[int, int], limit: int, *, probes: Collection[int],
        paused_lanes: Collection[int], histories: Mapping[int, UUID],
    ) -> list[KeyClaim]:  # fmt: skip
        """Take up to ``limit`` keys that are due and to be run alone; the arguments are those of the usual claim.

        ``histories`` has the handlers of which only keys of that replay are to be taken.
        """
        rows = await self._database.fetch(
            self._statements["claim_suspect"], list(handlers), self._lease, self._worker, list(probes),
            list(paused_lanes), [reads[handler] for handler in handlers], limit,
            [histories.get(handler) for handler in handlers],
        )  # fmt: skip
        return [
            KeyClaim(row["handler_id"], row["slot"], row["token"], row["handler_id"] in probes, alone=True)
            for row in rows
        ]

    async def release(self, claims: Sequence[KeyClaim]) -> None:
        """Give keys back unhandled, due at once."""
        await self._database.fetch(
            self._statements["release_keys"],
            [claim.handler_id for claim in claims],
            [claim.slot for claim in claims],
            [claim.token for claim in claims],
        )

    async def doubt(self, claims: Sequence[KeyClaim], depth: int) -> list[Any]:
        """Have keys run alone from now on and give them back; returns the deliveries that may have been in hand."""
        return await self._database.fetch(
            self._statements["doubt_keys"],
            [claim.handler_id for claim in claims],
            [claim.slot for claim in claims],
            [claim.token for claim in claims],
            depth,
        )

    async def begin(self, delivery: UUID, most: int) -> CrashRecord | None:
        """Say that this process runs the delivery alone; None if it is not registered, and so cannot say it.

        Counts up to ``most`` accidents.
        """
        rows = await self._database.fetch(self._statements["begin_alone"], self._worker, delivery, most)
        return CrashRecord(rows[0]["crashes"], rows[0]["accidents"], tuple(rows[0]["processes"])) if rows else None

    async def end(self) -> None:
        """Say that the process has outlived the attempt."""
        await self._database.fetch(self._statements["end_alone"], self._worker)
