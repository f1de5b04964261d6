"""Replays as processes work on them: a share is a partition of one, taken under a short lease and fenced by a token."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fastapi_events.model.replay import MOST_OPEN
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.database import Database
from fastapi_events.store.doubt import Doubt
from fastapi_events.store.log import EventLog
from fastapi_events.store.statements import Statements

LOOK_AT = 300
"""Events that one claim looks at, wanted or not."""


@dataclass(frozen=True, slots=True)
class RunningReplay:
    """A replay that goes on; ``wait`` is how many seconds its rate asks for before the next share is taken."""

    id: UUID
    handler_id: int
    rate: float | None
    wait: float


@dataclass(frozen=True, slots=True)
class ShareClaim:
    """This worker's right to go on in one share; ``token`` is the fence."""

    replay: UUID
    lane: int
    partition: int
    token: int


@dataclass(slots=True)
class Share:
    """A claimed share: the events to deliver next, and where it is once they have been.

    ``last`` says that nothing comes after them, ``crashes`` how many processes in a row have vanished with them in
    hand, and ``doubtful`` that this is more than chance.
    """

    claim: ShareClaim
    position: int
    position_after: int
    last: bool
    crashes: int
    doubtful: bool
    rows: list[Any]


@dataclass(slots=True)
class ShareResult:
    """What became of a claimed share: up to which position, and what the events left behind."""

    position: int
    finished: bool = False
    done: int = 0
    failed: int = 0
    skipped: int = 0
    deliveries: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    attempts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    marks: list[tuple[UUID, int, str]] = field(default_factory=list[tuple[UUID, int, str]])
    children: list[Sealed] = field(default_factory=list[Sealed])


class ReplayShareStore:
    """Claims, renews and settles shares."""

    def __init__(
        self, database: Database, statements: Statements, log: EventLog, *, worker: UUID, lease: float
    ) -> None:
        self._database, self._statements, self._log = database, statements, log
        self._worker, self._lease = worker, lease
        self._doubt = Doubt(database, statements, worker=worker, lease=lease)

    async def finish(self, handlers: Collection[int]) -> bool:
        """End the replays of these handlers that are at their end; whether a handler had begun with one of them."""
        rows = await self._database.fetch(self._statements["finish_replays"], list(handlers)) if handlers else []
        return any(row["starts"] for row in rows)

    async def running(self, handlers: Collection[int]) -> list[RunningReplay]:
        """The replays of these handlers that go on."""
        if not handlers:
            return []
        rows = await self._database.fetch(self._statements["list_running_replays"], list(handlers))
        return [RunningReplay(row["id"], row["handler_id"], row["rate"], row["wait"]) for row in rows]

    async def claim(self, replay: UUID, events: int) -> Share | None:
        """Take the share that is furthest behind, with up to so many events; None if there is none to take now."""
        rows = await self._database.fetch(
            self._statements["claim_replay_share"], replay, self._worker, self._lease, events, LOOK_AT, MOST_OPEN
        )
        if not rows:
            return None
        head, found = rows[0], rows[1:]
        facts = json.loads(head["payload"])
        full = len(found) >= events
        reached = found[-1]["position"] if full else facts["reached"] or facts["position"]
        return Share(
            ShareClaim(replay, head["lane"], head["partition"], facts["token"]), facts["position"], reached,
            not full and facts["looked"] < LOOK_AT, facts["crashes"],
            facts["crashes"] >= await self._doubt.threshold([facts["crashes"]]), found,
        )  # fmt: skip

    async def settle(self, share: Share, result: ShareResult) -> bool:
        """Record how far a share has got and give it back; False if it had been lost."""
        claim = share.claim
        async with self._database.acquire() as connection, self._database.steered(connection):
            rows = await connection.fetch(
                self._statements["settle_replay_share"], claim.replay, claim.lane, claim.partition, claim.token,
                result.position, result.finished, self._worker, json.dumps(result.deliveries, default=str),
                json.dumps(result.attempts, default=str), [key for key, _, _ in result.marks],
                [position for _, position, _ in result.marks], [outcome for _, _, outcome in result.marks],
                result.done, result.failed, result.skipped,
            )  # fmt: skip
            if rows and result.children:
                await self._log.append(connection, result.children)
        return bool(rows)

    async def renew(self, claims: Sequence[ShareClaim]) -> None:
        """Extend the leases of shares that are being worked on."""
        await self._database.fetch(
            self._statements["renew_replay_shares"], [claim.replay for claim in claims],
            [claim.lane for claim in claims], [claim.partition for claim in claims],
            [claim.token for claim in claims], self._lease,
        )  # fmt: skip
