"""A process's own place in the log, kept in its memory: what a group's cursors are, for one process and unrecorded.

The log is followed by snapshots, partition by partition, as ``cursors`` does: a batch holds what is visible now and was
not then, so that nobody who commits late is skipped. What cannot be read on from is said, never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Literal

from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

Restart = Literal["read_on", "from_now"]
"""What a restart of the server meant: the place was kept, or nothing of it could be used."""

TAKEN_BACK = 10_000
"""Positions that a crash of the server may take back and give out again; far more than one does."""

STALE = 10.0
"""Seconds after which what is known of the log's end is asked anew before a window is opened: what is drawn after that,
and is in the window, has to be passed over when the next one is read."""

_TALLY, _EVENT = 1, 2


@dataclass(frozen=True, slots=True)
class Interest:
    """Which events are read: by name, and by regular expressions; an audit event by name or by the last of them."""

    names: tuple[str, ...] = ()
    wildcards: tuple[str, ...] = ()
    audit_wildcards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
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
    """How far a partition has been read: the window ``seen`` to ``target`` (None: none open) and a position in it.

    ``floor`` had been drawn as a position before ``seen`` was taken, so what began since is above it; ``next_floor`` is
    that of ``target``. ``drawn`` had been by the time of the newest of the two.
    """

    seen: str
    target: str | None
    position: int
    floor: int
    next_floor: int
    drawn: int

    def opened(self, snapshot: str, known: int, drawn: int, backlog: int) -> _Reach:
        """With a window open, if none was: up to a snapshot before and after which so many positions had been drawn."""
        if self.target is not None:
            return self
        floor = drawn - backlog if self.is_behind(drawn, backlog) else self.floor
        return _Reach(self.seen, snapshot, 0, floor, known, drawn)

    def is_behind(self, drawn: int, backlog: int) -> bool:
        """Whether a window opened now would leave out what is more than ``backlog`` positions behind."""
        return self.target is None and drawn - self.drawn > backlog

    def after(self, rows: int, last_position: int, quota: int) -> _Reach:
        """Once so many rows have been read; fewer than were asked for were the last of the window."""
        if rows >= quota:
            return replace(self, position=last_position)
        return _Reach(self.target or self.seen, None, 0, self.next_floor, self.next_floor, self.drawn)


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
        self._drawn, self._asked_at = 0, 0.0

    async def begin(self) -> None:
        """Take a place at the end of the log: what is committed from now on will be read."""
        await self._look_at_end()
        known = self._drawn
        snapshot, self._life = await self._look_at_end()
        self._cluster = await self._cluster_now()
        self._reaches = dict.fromkeys(self._places, _Reach(snapshot, None, 0, known, known, self._drawn))
        self._skipped_to = 0

    async def read(self, size: int, where: Collection[LogPlace] | None = None) -> Stretch:
        """Read up to about ``size`` events of these partitions (None: of all), wanted or not; return the wanted ones.

        Each partition gives one at least, if it has one. A look that fails has changed nothing.
        """
        places = self._places if where is None else [place for place in where if place in self._reaches]
        quota = -(-size // max(len(places), 1))
        if monotonic() - self._asked_at > STALE:
            await self._look_at_end()
        before = [self._reaches[place] for place in places]
        rows, life = await self._database.fetch_with_life(
            self._read, places,
            [reach.seen for reach in before], [reach.target for reach in before],
            [reach.position for reach in before], [reach.floor for reach in before], [reach.drawn for reach in before],
            quota, self._backlog, self._wanted.names, self._wanted.wildcards, self._wanted.audit_wildcards,
        )  # fmt: skip
        moment = json.loads(rows[0]["payload"])
        if life != self._life:
            return await self._after_restart(life, moment, size, where)
        self._asked_at = monotonic()
        return self._advance(places, rows, moment, quota)

    def _advance(self, places: Sequence[LogPlace], rows: list[Any], moment: Any, quota: int) -> Stretch:
        tallies = {row["place"]: (row["version"], row["position"]) for row in rows if row["kind"] == _TALLY}
        drawn = moment["last_position"]
        reaches = [self._reaches[place] for place in places]
        left_at = [reach.drawn for reach in reaches if reach.is_behind(drawn, self._backlog)]
        for place in places:
            reach = self._reaches[place].opened(moment["snapshot"], self._drawn, drawn, self._backlog)
            self._reaches[place] = reach.after(*tallies.get(place, (0, 0)), quota)
        self._drawn = drawn
        return Stretch(
            rows=[row for row in rows if row["kind"] == _EVENT],
            unread=frozenset(place for place in places if self._reaches[place].target is not None),
            skipped=self._newly_skipped(min(left_at), drawn - self._backlog) if left_at else None,
        )

    def _newly_skipped(self, lowest: int, highest: int) -> tuple[int, int] | None:
        """The skipped positions that have not been told of: partitions are looked at at different times."""
        first, self._skipped_to = max(lowest, self._skipped_to) + 1, max(self._skipped_to, highest)
        return (first, highest) if highest >= first else None

    async def _after_restart(self, life: str, moment: Any, size: int, where: Collection[LogPlace] | None) -> Stretch:
        """Read on where this process's snapshots still mean something to the server, else from now.

        They mean nothing in another cluster, nor in one that was set back to before they were taken: events would count
        as seen, or as new, by transaction ids that are others' there.
        """
        newest = max(_end_of(reach.target or reach.seen) for reach in self._reaches.values())
        if _end_of(moment["snapshot"]) < newest or await self._cluster_now() != self._cluster:
            await self.begin()
            return Stretch(restart="from_now")
        self._life, self._drawn = life, moment["last_position"]
        known = self._drawn - TAKEN_BACK
        self._reaches = {
            place: replace(reach, floor=min(reach.floor, known), next_floor=min(reach.next_floor, known))
            for place, reach in self._reaches.items()
        }
        return replace(await self.read(size, where), restart="read_on")

    async def _look_at_end(self) -> tuple[str, str]:
        """See what positions have been drawn: what begins later is above. Returns snapshot and life of the server."""
        [row], life = await self._database.fetch_with_life(self._begin)
        self._drawn, self._asked_at = row["last_position"], monotonic()
        return row["snapshot"], life

    async def _cluster_now(self) -> int:
        [row] = await self._database.fetch(self._identify)
        return int(row["system_identifier"])


def _end_of(snapshot: str) -> int:
    """The first transaction id that had not been given out when a snapshot was taken."""
    return int(snapshot.split(":", 2)[1])
