"""A process's own place in the log, kept in its memory: what a group's cursors are, for one process and unrecorded.

The log is followed by snapshots, partition by partition, as ``cursors`` does: a batch holds what is visible now and was
not then, so that nobody who commits late is skipped. What cannot be read on from is said, never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.store.cursors import Place
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

Restart = Literal["read_on", "from_now"]
"""What a restart of the server meant: the place was kept, or nothing of it could be used."""

_MOMENT, _WINDOW, _TALLY = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Interest:
    """Which events are read: by name, and by regular expressions; an audit event by name or by the last of them."""

    names: tuple[str, ...] = ()
    wildcards: tuple[str, ...] = ()
    audit_wildcards: tuple[str, ...] = ()


@dataclass(slots=True)
class Stretch:
    """What one look brought: the events in position order per partition, and the partitions with more to come.

    ``skipped`` are the lowest and highest position between which events may have been left out: the process was too far
    behind. ``restart``: the server has been restarted since the last look.
    """

    rows: list[Any] = field(default_factory=list[Any])
    unread: frozenset[LogPlace] = frozenset()
    skipped: tuple[int, int] | None = None
    restart: Restart | None = None


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far one partition has been read; ``finish`` is the log's last position when it was looked at."""

    place: Place
    finish: int


class Tail:
    """Follows every partition of some lanes from ``begin()`` on, at most ``backlog`` positions behind the log's end."""

    def __init__(
        self, database: Database, statements: Statements, *, lanes: Iterable[int], partitions: int, interest: Interest,
        backlog: int,
    ) -> None:  # fmt: skip
        self._database = database
        self._begin, self._read = statements["begin_tail"], statements["read_tail"]
        self._identify = statements["identify_database"]
        self._places = [place_of(lane, partition) for lane in lanes for partition in range(partitions)]
        self._wanted, self._backlog = interest, backlog
        self._reaches: dict[LogPlace, _Reach] = {}
        self._life, self._cluster, self._skipped_to = "", 0, 0

    async def begin(self) -> None:
        """Take a place at the end of the log: what is committed from now on will be read."""
        [row], life = await self._database.fetch_with_life(self._begin)
        self._cluster = await self._cluster_now()
        place = Place(row["snapshot"], None, 0, 0, 0)
        self._reaches = dict.fromkeys(self._places, _Reach(place, row["last_position"]))
        self._life, self._skipped_to = life, 0

    async def read(self, size: int, where: Collection[LogPlace] | None = None) -> Stretch:
        """Read up to about ``size`` events of these partitions (None: of all), wanted or not; return the wanted ones.

        A look that fails has changed nothing.
        """
        places = self._places if where is None else [place for place in where if place in self._reaches]
        before = [self._reaches[place] for place in places]
        rows, life = await self._database.fetch_with_life(
            self._read, places,
            [reach.place.seen for reach in before], [reach.place.target for reach in before],
            [reach.place.position for reach in before], [reach.place.floor for reach in before],
            [reach.place.remaining for reach in before], [reach.finish for reach in before],
            size, self._backlog,
            self._wanted.names, self._wanted.wildcards, self._wanted.audit_wildcards,
        )  # fmt: skip
        moment = json.loads(rows[0]["payload"])
        restart: Restart | None = None
        if life != self._life:
            if not await self._can_read_on(moment["snapshot"]):
                await self.begin()
                return Stretch(restart="from_now")
            self._life, restart = life, "read_on"
        return self._advance(places, rows, moment, restart)

    def _advance(self, places: Sequence[LogPlace], rows: list[Any], moment: Any, restart: Restart | None) -> Stretch:
        windows = {row["place"]: json.loads(row["payload"]) for row in rows if row["kind"] == _WINDOW}
        tallies = {row["place"]: (row["version"], row["position"]) for row in rows if row["kind"] == _TALLY}
        skipping = [self._reaches[place].finish for place, window in windows.items() if window["skipped"]]
        nothing = Place(moment["snapshot"], None, 0, 0, 0)
        for place in places:
            window = windows.get(place)
            after = nothing
            if window is not None and window["remaining"]:
                seen = self._reaches[place].place.seen
                opened = Place(seen, window["target"], window["position"], window["floor"], window["remaining"])
                after = opened.after(window["quota"], *tallies.get(place, (0, 0)))
            self._reaches[place] = _Reach(after, moment["last_position"])
        skipped_to = max((window["skipped"] for window in windows.values()), default=0)
        return Stretch(
            rows=[row for row in rows if row["kind"] > _TALLY],
            unread=frozenset(place for place in windows if self._reaches[place].place.target is not None),
            skipped=self._newly_skipped(min(skipping, default=0), skipped_to),
            restart=restart,
        )

    def _newly_skipped(self, lowest: int, highest: int) -> tuple[int, int] | None:
        """The skipped positions that have not been told of: partitions are looked at at different times."""
        first, self._skipped_to = max(lowest, self._skipped_to) + 1, max(self._skipped_to, highest)
        return (first, highest) if highest >= first else None

    async def _can_read_on(self, snapshot: str) -> bool:
        """Whether this process's snapshots mean anything to the server as it is now.

        Not in another cluster, nor in one that was set back to before they were taken: events would count as seen, or
        as new, by transaction ids that are others' there.
        """
        newest = max(_end_of(reach.place.seen) for reach in self._reaches.values())
        return _end_of(snapshot) >= newest and await self._cluster_now() == self._cluster

    async def _cluster_now(self) -> int:
        [row] = await self._database.fetch(self._identify)
        return int(row["system_identifier"])


def _end_of(snapshot: str) -> int:
    """The first transaction id that had not been given out when a snapshot was taken."""
    return int(snapshot.split(":", 2)[1])
