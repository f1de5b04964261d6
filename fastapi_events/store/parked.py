"""Parked keys: the queue of one handler and one ordering key whose head failed, waits, or is dead."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fastapi_events.model.replay import LIVE
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.database import Database
from fastapi_events.store.log import EventLog
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """This worker's right to work on one parked key; ``token`` is the fence."""

    handler_id: int
    slot: str
    token: int
    probe: bool = False
    """Whether the handler's breaker is open, and this is the one attempt that may be made."""
    crashes: int = 0
    """How many processes in a row have vanished with the key in hand."""
    alone: bool = False
    """Whether its head alone may be run, and nothing else that is in doubt beside it."""


@dataclass(slots=True)
class KeyQueue:
    """The head of a claimed key's queue, and the key's version when it was read.

    ``held`` says that behind these rows a dead delivery keeps the others waiting.
    """

    claim: KeyClaim
    version: int
    held: bool
    rows: list[Any]


@dataclass(slots=True)
class KeyResult:
    """What became of a claimed key: ``delay`` None parks it until an operator acts.

    ``needs`` is the version that a process must read to take the key, if that of its head is too new for this one;
    ``suspect`` says that what is its head now is to be run alone.
    """

    claim: KeyClaim
    version: int
    drained: bool
    delay: float | None = 0.0
    results: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    attempts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    marks: list[tuple[UUID, int]] = field(default_factory=list[tuple[UUID, int]])
    children: list[Sealed] = field(default_factory=list[Sealed])
    needs: int = 0
    suspect: bool = False
    replay: UUID = LIVE
    """The replay whose key it is."""

    def leave_to(self, needs: int, head: Any) -> None:
        """Stop at a delivery that only a process of a newer release can read; nothing of it is spent."""
        self.drained, self.delay, self.needs, self.replay = False, 0.0, needs, head["replay_id"]
        if head["reason"] not in (
            "no_handler",
            "detached",
            "crash_suspect",
        ):  # that one may have run, and the next try has to know
            kept = {"position": head["position"], "state": "waiting", "reason": "no_handler", "postponed": 0}
            self.results.append(kept | {"attempts": head["attempts"], "holds": False})


class ParkedKeyStore:
    """Claims, reads, settles and gives back parked keys."""

    def __init__(
        self, database: Database, statements: Statements, log: EventLog, *, worker: UUID, lease: float
    ) -> None:
        self._database, self._statements, self._log = database, statements, log
        self._worker, self._lease = worker, lease

    async def claim(
        self, rooms: Mapping[int, int], reads: Mapping[int, int], limit: int, look_back: float | None, *,
        probes: Collection[int], paused_lanes: Collection[int],
    ) -> list[KeyClaim]:  # fmt: skip
        """Take up to ``limit`` keys that are due, and of each handler no more than it has room for.

        ``look_back`` seconds limit the search (None: everything). ``reads`` has for each handler the newest version
        that this process can give it: keys that need a newer one are left to others. ``probes`` are handlers whose
        breakers are open and that may be tried once.
        """
        rows = await self._database.fetch(
            self._statements["claim_keys"], list(rooms), limit, self._lease, self._worker, look_back,
            list(rooms.values()), list(probes), list(paused_lanes), [reads[handler] for handler in rooms],
        )  # fmt: skip
        return [
            KeyClaim(row["handler_id"], row["slot"], row["token"], row["handler_id"] in probes, row["crashes"])
            for row in rows
        ]

    async def claim_history(
        self, rooms: Mapping[int, int], replays: Mapping[int, UUID], reads: Mapping[int, int], limit: int, *,
        paused_lanes: Collection[int],
    ) -> list[KeyClaim]:  # fmt: skip
        """As ``claim``, of these handlers' replays alone: whatever else of them is due waits for their ends."""
        rows = await self._database.fetch(
            self._statements["claim_replay_keys"], list(rooms), [replays[handler] for handler in rooms],
            list(rooms.values()), [reads[handler] for handler in rooms], limit, self._lease, self._worker,
            list(paused_lanes),
        )  # fmt: skip
        return [KeyClaim(row["handler_id"], row["slot"], row["token"], crashes=row["crashes"]) for row in rows]

    async def next_due(
        self, handlers: Sequence[int], reads: Mapping[int, int], look_back: float | None, paused_lanes: Collection[int]
    ) -> tuple[float | None, float | None]:
        """Seconds until the next key is due that this process can take, and until the next that is run alone.

        None if none waits.
        """
        newest = [reads[handler] for handler in handlers]
        rows = await self._database.fetch(
            self._statements["next_due"], list(handlers), look_back, list(paused_lanes), newest
        )
        return (rows[0]["seconds"], rows[0]["suspect_seconds"]) if rows else (None, None)

    async def read(self, claims: Sequence[KeyClaim], depth: int) -> list[KeyQueue]:
        """The first ``depth`` waiting deliveries of each claimed key; a claim lost meanwhile is left out."""
        rows = await self._database.fetch(
            self._statements["read_queue"],
            [claim.handler_id for claim in claims],
            [claim.slot for claim in claims],
            [claim.token for claim in claims],
            depth,
        )
        by_key = {(claim.handler_id, claim.slot): claim for claim in claims}
        queues: dict[tuple[int, str], KeyQueue] = {}
        for row in rows:
            key = (row["handler_id"], row["slot"])
            queue = queues.setdefault(key, KeyQueue(by_key[key], row["version"], row["held"], []))
            if row["position"] is not None:
                queue.rows.append(row)
        return list(queues.values())

    async def settle(self, result: KeyResult) -> bool:
        """Record what became of a key and give it back; False if the claim had been lost."""
        claim = result.claim
        async with self._database.acquire() as connection, self._database.steered(connection):
            rows = await connection.fetch(
                self._statements["settle_key"], claim.handler_id, claim.slot, claim.token, result.version,
                result.drained, result.delay, self._worker,
                json.dumps(result.results, default=str), json.dumps(result.attempts, default=str),
                [key for key, _ in result.marks], [position for _, position in result.marks], result.needs,
                result.suspect, result.replay,
            )  # fmt: skip
            if rows and result.children:
                await self._log.append(connection, result.children)
            if rows and rows[0]["done_after_all"]:
                await connection.execute(self._statements["release_parked_key"], claim.handler_id, claim.slot)
        return bool(rows)

    async def holds(self, claim: KeyClaim) -> bool:
        """Whether this worker has the key that it means to have."""
        return bool(await self._database.fetch(
            self._statements["find_key"], claim.handler_id, claim.slot, claim.token
        ))  # fmt: skip

    async def release(self, claims: Sequence[KeyClaim]) -> None:
        """Give keys back unhandled, due at once."""
        if claims:
            await self._database.fetch(
                self._statements["release_keys"],
                [claim.handler_id for claim in claims],
                [claim.slot for claim in claims],
                [claim.token for claim in claims],
            )
