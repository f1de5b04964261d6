"""Replays as operators ask for them: counted, started, paused, resumed, cancelled, looked at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.errors import NotFound, OperationRefused
from fastapi_events.model.identity import new_id
from fastapi_events.model.lane import LANES
from fastapi_events.model.replay import MOST_OPEN, ReplaySelection, ReplayState
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import explained
from fastapi_events.store.statements import Statements

_DISCARDED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class ShareBounds:
    """Where the group's cursor is in one partition: a snapshot, and how far in the window up to another."""

    lane: int
    partition: int
    seen: str
    target: str | None
    position: int


@dataclass(frozen=True, slots=True)
class ReplayBounds:
    """A handler and the place at which live delivery is: a replay that starts from here meets it exactly."""

    handler_id: int
    handler: str
    selects: str
    started_after: str | None
    retired: bool
    processes: int
    first_position: int
    last_position: int
    shares: tuple[ShareBounds, ...]


@dataclass(slots=True)
class ReplayCount:
    """How many events there are, up to where counting stopped, the first and last of them, and where they are."""

    events: int = 0
    first_position: int | None = None
    last_position: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    shares: list[ShareBounds] = field(default_factory=list[ShareBounds])

    def add(self, share: ShareBounds, row: Any) -> None:
        """Add what was found in one partition."""
        if not row["events"]:
            return
        self.events += row["events"]
        self.shares.append(share)
        if self.first_position is None or row["first_position"] < self.first_position:
            self.first_position, self.first_at = row["first_position"], row["first_at"]
        if self.last_position is None or row["last_position"] > self.last_position:
            self.last_position, self.last_at = row["last_position"], row["last_at"]


@dataclass(frozen=True, slots=True)
class Order:
    """A replay that is to begin: of what, how fast (events per second, None: no limit), by whom and why."""

    bounds: ReplayBounds
    selection: ReplaySelection
    count: ReplayCount
    rate: float | None
    actor: str
    reason: str


class ReplayStore:
    """Counts, starts and changes replays; each change is recorded in the transaction that makes it."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def bounds(self, group_id: int, handler: str) -> ReplayBounds | None:
        """Where a replay of this handler would begin and end now; None if the group has no such handler."""
        with explained():
            rows = await self._database.fetch(
                self._statements["read_replay_bounds"], group_id, handler, list(LANES.values())
            )
        if not rows:
            return None
        first = rows[0]
        return ReplayBounds(
            first["handler_id"], first["name"], first["selects"], first["started_after"],
            first["retired_at"] is not None, first["processes"], first["first_position"] or 0, first["last_position"],
            tuple(ShareBounds(r["lane"], r["partition"], r["seen"], r["target"], r["position"]) for r in rows),
        )  # fmt: skip

    async def count(self, bounds: ReplayBounds, selection: ReplaySelection, most: int) -> ReplayCount:
        """Count events, partition by partition so that no statement is long; stop when there are more than ``most``."""
        count = ReplayCount()
        for share in bounds.shares:
            with explained():
                [row] = await self._database.fetch(
                    self._statements["count_replay_share"], share.lane, share.partition, selection.from_position,
                    end_of(bounds, selection), share.seen, share.target, share.position, bounds.started_after,
                    *_filters(selection), most + 1 - count.events,
                )  # fmt: skip
            count.add(share, row)
            if count.events > most:
                break
        return count

    async def start(self, order: Order) -> UUID:
        """Begin a replay and record who asked for it; returns its id. Raises ``OperationRefused`` beside another."""
        replay, bounds, selection = new_id(), order.bounds, order.selection
        shares = order.count.shares  # a partition without events is no share
        names, pattern, aggregate, aggregate_id, key, tenants, correlation, since, until = _filters(selection)
        async with self._recorded(bounds.handler) as connection:
            begun = await connection.execute(
                self._statements["start_replay"], replay, bounds.handler_id, selection.from_position,
                end_of(bounds, selection), bounds.started_after, names, pattern, aggregate, aggregate_id, key, tenants,
                correlation, since, until, order.rate, order.count.events, order.actor, order.reason,
                [s.lane for s in shares], [s.partition for s in shares], [s.seen for s in shares],
                [s.target for s in shares], [s.position for s in shares],
            )  # fmt: skip
            if begun == "UPDATE 0":
                raise OperationRefused("The handler's group has just been removed: nothing was started.")
            facts = {"reason": order.reason, "replay": str(replay), "events": order.count.events, "rate": order.rate}
            await self._record(connection, "start_replay", order.actor, bounds.handler, facts, selection.tenants)
        return replay

    async def change(
        self, group_id: int, replay: UUID, state: ReplayState, before: Sequence[ReplayState], *, action: str,
        actor: str, reason: str, tenants: Sequence[str] | None,
    ) -> bool:  # fmt: skip
        """Bring a replay into another state; False if it was in none of those before. Raises ``NotFound``.

        Cancelling gives up what waits of it, also if it had ended before.
        """
        async with self._recorded() as connection:
            found = await connection.fetchrow(
                self._statements["change_replay"], group_id, replay, state, list(before), tenants
            )
            if found is None:
                raise NotFound(f"This group has no replay {replay}. Nothing was changed.")
            changed = found["state"] in before
            facts: dict[str, Any] = {"reason": reason, "replay": str(replay), "changed": changed}
            if state == "cancelled":
                note = f"its replay was cancelled: {reason}" if reason else "its replay was cancelled"
                given_up = await connection.fetch(self._statements["discard_replay"], replay, note, _DISCARDED_AT_ONCE)
                facts["discarded"] = len(given_up)
            await self._record(connection, action, actor, found["name"], facts, found["tenants"])
        return changed

    async def listing(
        self, group_id: int, tenants: Sequence[str] | None, *, replay: UUID | None = None,
        handler: str | None = None, limit: int = 100,
    ) -> list[Any]:  # fmt: skip
        """Replays, newest first."""
        with explained():
            return await self._database.fetch(
                self._statements["list_replays"], group_id, tenants, replay, limit, handler, MOST_OPEN
            )

    async def _record(
        self, connection: Any, action: str, actor: str, target: str, facts: Mapping[str, Any],
        tenants: Sequence[str] | None,
    ) -> None:  # fmt: skip
        await connection.execute(
            self._statements["record_action"], new_id(), action, actor, target, json.dumps(facts, default=str),
            list(tenants or ()),
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _recorded(self, handler: str = "") -> AsyncGenerator[Any]:
        """A transaction that is on disk when it ends: what an operator was told must survive a crash."""
        with explained("The handler or the replay is being changed by somebody else at this moment. Try again."):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute("SET LOCAL synchronous_commit = on")
                try:
                    yield connection
                except asyncpg.UniqueViolationError as error:
                    raise OperationRefused(
                        f"A replay of {handler!r} goes on or is paused. Nothing was started: wait for it, or cancel it."
                    ) from error


def end_of(bounds: ReplayBounds, selection: ReplaySelection) -> int:
    """The last position of a replay: the end of the log as it is now, or one before that."""
    wanted = selection.to_position
    return bounds.last_position if wanted is None else min(wanted, bounds.last_position)


def _filters(selection: ReplaySelection) -> tuple[Any, ...]:
    """As the statements take them, in their order."""
    return (
        list(selection.names) if selection.names is not None else None, selection.pattern, selection.aggregate,
        selection.aggregate_id, selection.key, list(selection.tenants) if selection.tenants is not None else None,
        selection.correlation_id, selection.since, selection.until,
    )  # fmt: skip
