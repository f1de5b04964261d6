"""A group's place in the log: claiming windows of it, and settling what was read.

A place is a snapshot window plus a position inside it; a lease is the newest row of an append-only table; settling is
a compare-and-append on it. See ``docs/architecture.md`` for why, and the comments in the two statements for how.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.model.run_start import Sealed
from fastapi_events.store.database import Database
from fastapi_events.store.doubt import IN_DOUBT, Doubt
from fastapi_events.store.log import EventLog
from fastapi_events.store.statements import Statements


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition's reading has got to: the window ``seen`` to ``target`` (None: none open) and a place in it."""

    seen: str
    target: str | None
    position: int
    floor: int
    remaining: int

    def after(self, quota: int, rows: int, last_position: int) -> Place:
        """The place once a batch of ``rows`` out of ``quota`` has been dealt with.

        Fewer rows than asked for means that retention took some of the window: it is at its end.
        """
        if self.remaining <= quota or rows < quota:
            return Place(seen=self.target or self.seen, target=None, position=0, floor=0, remaining=0)
        return replace(self, position=last_position, remaining=self.remaining - quota)


@dataclass(slots=True, eq=False)
class HeldPartition:
    """A partition under lease: ``settled`` is what the database holds, ``read`` is after everything read so far."""

    number: int
    seq: int
    settled: Place
    read: Place
    doubtful: int = 0
    """Number of batches that a worker whose lease ran out may have handled already."""
    written_in: str = ""
    """The life of the server in which the newest row was written."""
    crashes: int = 0
    """How many processes in a row have vanished at the place that the database has."""
    suspicious: bool = False
    """Whether so many have that its doubtful batches are cut up, and not handled."""

    def crashes_at(self, place: Place) -> int:
        """What is left of the doubt at a place that is about to be settled: it fades as the partition moves on."""
        if not self.crashes or place is self.settled:
            return self.crashes
        return int(self.suspicious and self.crashes > 1)


@dataclass(slots=True)
class PartitionBatch:
    """One partition's share of a batch, and the place before it is settled and after."""

    held: HeldPartition
    place_before: Place
    place_after: Place
    oldest_seen: int
    read_in: str
    """The life of the server in which this was read."""
    rows: list[Any] = field(default_factory=list[Any])

    def place_behind(self, count: int) -> Place:
        """The place once the first ``count`` rows have been dealt with; the whole batch's at its end."""
        if count >= len(self.rows):
            return self.place_after
        before = self.place_before
        return replace(before, position=self.rows[count - 1]["position"], remaining=before.remaining - count)

    def shorten(self, count: int) -> None:
        """Leave what comes behind the first ``count`` rows to the next reading."""
        self.place_after = self.held.read = self.place_behind(count)
        self.rows = self.rows[:count]


@dataclass(slots=True)
class Batch:
    """What one claim brought: rows in position order per partition, and what the group looks like at that moment."""

    partitions: dict[int, PartitionBatch]
    revision: int
    workers: int

    @property
    def size(self) -> int:
        """Number of events."""
        return sum(len(share.rows) for share in self.partitions.values())


@dataclass(slots=True)
class Settlement:
    """Everything that one batch leaves behind, as columns."""

    started_at: datetime
    marks: list[tuple[int, int, UUID, int, str]] = field(default_factory=list[tuple[int, int, UUID, int, str]])
    successes: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    handler_sets: list[list[int]] = field(default_factory=list[list[int]])
    notes: dict[int, str] = field(default_factory=dict[int, str])
    """Of the sets of handlers that had nothing to do, why."""
    deliveries: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    attempts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    children: list[tuple[int, Sealed]] = field(default_factory=list[tuple[int, Sealed]])


class CursorStore:
    """Claims and settles batches of one group in one lane."""

    def __init__(
        self,
        database: Database,
        statements: Statements,
        log: EventLog,
        *,
        group: int,
        lane: int,
        partitions: int,
        worker: UUID,
        lease: float,
    ) -> None:
        self._database = database
        self._log = log
        self._claim, self._settle = statements["claim_windows"], statements["settle_batch"]
        self._group, self._lane, self._partitions = group, lane, partitions
        self._worker, self._lease = worker, lease
        self._doubt = Doubt(database, statements, worker=worker, lease=lease)

    async def claim(
        self, held: Sequence[HeldPartition], size: int, *, free: Sequence[int] | None = None, greedy: bool = False
    ) -> Batch:
        """Read up to about ``size`` events from the held partitions and from free ones, which are claimed with it.

        ``free`` names the free partitions to look at; None stands for all. ``greedy`` takes more of them than this
        process's fair share.
        """
        places = [partition.read for partition in held]
        rows, life = await self._database.fetch_with_life(
            self._claim, self._group, self._lane, self._partitions, self._worker, self._lease, size,
            [partition.number for partition in held],
            [partition.seq for partition in held],
            [place.seen for place in places],
            [place.target for place in places],
            [place.position for place in places],
            [place.floor for place in places],
            [place.remaining for place in places],
            free, greedy,
        )  # fmt: skip
        known = {partition.number: partition for partition in held}
        batch = _batch(rows, known, life)
        claimed = [part.held for number, part in batch.partitions.items() if number not in known]
        if claimed:
            threshold = await self._doubt.threshold([partition.crashes for partition in claimed])
            for partition in claimed:
                partition.suspicious = partition.crashes >= threshold
                if IN_DOUBT <= partition.crashes < threshold:
                    # Processes that do not live for as long as a batch takes get on by small bites.
                    share = batch.partitions[partition.number]
                    share.shorten(max(len(share.rows) >> partition.crashes, 1))
        return batch

    async def settle(
        self, shares: Sequence[tuple[HeldPartition, Place]], keep: frozenset[int], what: Settlement
    ) -> dict[int, int]:
        """Record a batch and move its partitions; returns the new tokens of those that were still held."""
        arguments = (
            self._group, self._lane, self._worker, self._lease,
            *_columns([(held.number, held.seq, place.seen, place.target, place.position, place.floor, place.remaining,
                        held.number in keep) for held, place in shares], 8),
            *_columns(what.marks, 5),
            *_columns(what.successes, 3),
            json.dumps(what.handler_sets), what.started_at,
            json.dumps(what.deliveries, default=str), json.dumps(what.attempts, default=str),
            [held.crashes_at(place) for held, place in shares],
            [what.notes.get(number) for number in range(len(what.handler_sets))] if what.notes else [],
        )  # fmt: skip
        if not what.children:
            rows, life = await self._database.fetch_with_life(self._settle, *arguments)
            return _accepted(shares, rows, life)
        async with self._database.acquire() as connection, self._database.steered(connection):
            life = await self._database.life_of(connection)
            rows = await connection.fetch(self._settle, *arguments)
            still_held = {row["partition"] for row in rows}
            children = [envelope for partition, envelope in what.children if partition in still_held]
            if children:
                await self._log.append(connection, children)
        return _accepted(shares, rows, life)


def _accepted(shares: Sequence[tuple[HeldPartition, Place]], rows: Sequence[Any], life: str) -> dict[int, int]:
    accepted = {row["partition"]: row["seq"] for row in rows}
    for held, _ in shares:
        if held.number in accepted:
            held.written_in = life
    return accepted


def _batch(rows: Sequence[Any], held: dict[int, HeldPartition], life: str) -> Batch:
    partitions: dict[int, PartitionBatch] = {}
    quotas: dict[int, int] = {}
    revision = workers = 0
    for row in rows:
        number = row["partition"]
        if row["position"] is not None:
            partitions[number].rows.append(row)
            continue
        header = json.loads(row["payload"])
        revision, workers = header["revision"], header["workers"]
        place = Place(header["seen"], header["target"], header["position"], header["floor"], header["remaining"])
        partition = held.get(number)
        if partition is None:
            partition = HeldPartition(number, header["seq"], settled=place, read=place, written_in=life)
            partition.crashes = header["crashes"]
            partition.doubtful = 2 if header["rescued"] or partition.crashes >= IN_DOUBT else 0
        partition.read = place
        quotas[number] = header["quota"]
        oldest = int(header["seen"].split(":", 1)[0])
        partitions[number] = PartitionBatch(partition, place, place, oldest, life)
    for number, share in partitions.items():
        last = share.rows[-1]["position"] if share.rows else 0
        share.place_after = share.held.read = share.held.read.after(quotas[number], len(share.rows), last)
    return Batch(partitions, revision, workers)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
