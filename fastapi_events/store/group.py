"""A consumer group as the database knows it: its handlers, its processes, and its place at the beginning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.errors import NotStarted
from fastapi_events.model.lane import LANES
from fastapi_events.model.names import is_pattern, matches, regular_expression
from fastapi_events.model.start import Start
from fastapi_events.store.database import Database
from fastapi_events.store.parked import KeyClaim
from fastapi_events.store.renames import former_names, rows_to_take
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ``pg_snapshot`` in Python: which transactions had ended when it was taken."""

    xmin: int
    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text form, ``xmin:xmax:xid,xid``."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, running.split(","))) if running else frozenset())

    def shows(self, xid: int) -> bool:
        """Whether rows of this transaction are visible in the snapshot (as ``pg_visible_in_snapshot``)."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.in_progress)


@dataclass(frozen=True, slots=True)
class KnownHandler:
    """A handler of the group, whether or not this process has it."""

    id: int
    name: str
    former_names: tuple[str, ...]
    selects: str
    ordered: bool
    on_dead: str
    started_after: Snapshot | None
    paused: bool
    probe_in: float | None
    """Seconds until its breaker, which is open, may be tried; None if it is closed."""
    catching_up: UUID | None = None
    """The replay of the history that it begins with, while what is live has to wait for that."""
    job: str | None = None
    """The job that it starts, if it is a trigger."""

    def takes(self, name: str) -> bool:
        """Whether the handler selects events of this name."""
        return matches(self.selects, name)


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """What a process says of a handler when it registers it."""

    name: str
    selects: str
    ordered: bool
    on_dead: str
    was: tuple[str, ...]
    start: Start | None = None
    """The history that it begins with if it is new."""
    job: str | None = None
    """The job that it starts, if it is a trigger."""


@dataclass(frozen=True, slots=True)
class _Names:
    id: int
    name: str
    former_names: tuple[str, ...]


class Newest(NamedTuple):
    """The newest revisions of a group's handlers and jobs, and of what was said of its pools."""

    handlers: int
    jobs: int
    pools: int


class GroupStore:
    """Registers a group, its handlers and its processes, and keeps them alive."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def installation(self) -> tuple[int, int, int, str]:
        """Partitions, and system identifier as installed; system identifier and database as connected."""
        rows = await self._database.fetch(self._statements["read_installation"])
        row = rows[0]
        return row["partitions"], row["installed_identifier"], row["system_identifier"], row["database"]

    async def find(self, group: str) -> int | None:
        """The group's number; None if no process of it has ever started."""
        rows = await self._database.fetch(self._statements["find_group"], group)
        return int(rows[0]["id"]) if rows else None

    async def register(self, group: str, handlers: Iterable[HandlerRow], lanes: Sequence[int], partitions: int) -> int:
        """Make the group, its cursors and its handlers known and return the group's number."""
        rows = await self._database.fetch(self._statements["register_group"], group)
        group_id = int(rows[0]["id"])
        await self._database.fetch(self._statements["register_cursors"], group_id, list(lanes), partitions)
        await self._register_handlers(group_id, {handler.name: handler for handler in handlers})
        await self.handlers(group_id)
        return group_id

    async def _register_handlers(self, group_id: int, handlers: dict[str, HandlerRow]) -> None:
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute("SET LOCAL lock_timeout = '10s'")  # many processes may start at the same moment
            await connection.execute(self._statements["lock_group"], group_id)
            held = [
                _Names(row["id"], row["name"], tuple(row["former_names"]))
                for row in await connection.fetch(self._statements["read_handler_names"], group_id)
            ]
            rows = rows_to_take({handler.name: handler.was for handler in handlers.values()}, held)
            given = [_given(handler, rows.get(handler.name)) for handler in handlers.values()]
            await connection.execute(self._statements["register_handlers"], group_id, json.dumps(given))

    async def handlers(self, group_id: int) -> tuple[dict[str, KnownHandler], int]:
        """The handlers of the group that have not been retired, by name, and the newest revision of all.

        Those that are registered and have not started yet start now, each with the history that it asked for.
        """
        rows = await self._database.fetch(self._statements["list_handlers"], group_id)
        if any(row["started_after"] is None and not row["retired"] for row in rows):
            await self._database.fetch(self._statements["start_handlers"], group_id, list(LANES.values()))
            rows = await self._database.fetch(self._statements["list_handlers"], group_id)
        known = {row["name"]: _known(row) for row in rows if not row["retired"]}
        return known, max((row["revision"] for row in rows), default=0)

    async def register_worker(self, worker: UUID, group_id: int, **facts: Any) -> None:
        """Enter this process: ``host, pid, drains, lanes, release, handlers, connections, lease, wake_up``, and as
        ``broadcasts`` its broadcast handlers, each as a dict of ``name``, ``selects`` and ``audit``; as ``jobs`` the
        numbers of those that it runs, as ``pools`` how many of each pool at once.

        Raises ``NotStarted`` if the group has been removed.
        """
        rows = await self._database.fetch(
            self._statements["register_worker"], worker, group_id, facts["host"], facts["pid"], facts["drains"],
            facts["release"], facts["handlers"], facts["connections"], facts["lease"], facts["wake_up"],
            facts["lanes"], json.dumps(facts["broadcasts"]), facts["jobs"], json.dumps(facts["pools"]),
        )  # fmt: skip
        if not rows:
            raise NotStarted(
                "An operator has removed this process's consumer group while the process was silent or starting. "
                "Restart the process: the group then begins anew, with what is published from then on."
            )

    async def beat(
        self, worker: UUID, lease: float, wake_up: str, stale_settles: int, keys: Sequence[KeyClaim],
        broadcasts: tuple[int, int] = (0, 0),
    ) -> Newest | None:  # fmt: skip
        """Extend this process's life and its parked keys.

        ``broadcasts``: how many calls of broadcast handlers have failed, and how many events they may have skipped.
        Returns the newest revisions; None if the process is not registered any more.
        """
        rows = await self._database.fetch(
            self._statements["heartbeat"], worker, lease, wake_up, stale_settles,
            [key.handler_id for key in keys], [key.slot for key in keys], [key.token for key in keys], *broadcasts,
        )  # fmt: skip
        return Newest(*rows[0]) if rows else None

    async def revisions(self, group_id: int) -> Newest:
        """The newest revisions, as a heartbeat learns them."""
        rows = await self._database.fetch(self._statements["read_revisions"], group_id)
        return Newest(*rows[0])

    async def remove_worker(self, worker: UUID) -> None:
        """Leave in good order."""
        await self._database.fetch(self._statements["remove_worker"], worker)


def _given(handler: HandlerRow, row: _Names | None) -> dict[str, Any]:
    name, former = former_names(handler.name, handler.was, row) if row else (handler.name, list(handler.was))
    return {
        "id": row.id if row else None, "name": name, "former_names": former, "selects": handler.selects,
        "ordered": handler.ordered, "on_dead": handler.on_dead, "job": handler.job, **_start(handler),
    }  # fmt: skip


def _start(handler: HandlerRow) -> dict[str, Any]:
    start, selects = handler.start, handler.selects
    if start is None:
        return {}
    return {
        "start_position": start.position, "start_time": start.since.isoformat() if start.since is not None else None,
        "start_pattern": regular_expression(selects) if is_pattern(selects) else None,
    }  # fmt: skip


def _known(row: Any) -> KnownHandler:
    started = row["started_after"]
    return KnownHandler(
        id=row["id"],
        name=row["name"],
        former_names=tuple(row["former_names"]),
        selects=row["selects"],
        ordered=row["ordered"],
        on_dead=row["on_dead"],
        started_after=Snapshot.parse(started) if started else None,
        paused=row["paused"],
        probe_in=row["probe_in"],
        catching_up=row["catching_up"],
        job=row["job"],
    )
