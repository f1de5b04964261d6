"""Retention: what is past its age goes, a little in each round, and nothing that somebody has still to read.

A round works for a bounded time in transactions of some ten milliseconds, and rests between them for sixteen times as
long as they took: connections, processor and disk belong to the drain, which may feel a twentieth of it. Tables
without an index on time are swept page by page, from where the last round stopped, in whichever process that was.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import asyncpg

from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.retention import (
    PAGES_AT_ONCE,
    ROWS_AT_ONCE,
    Ages,
    AnotherIsAtIt,
    KeepingReplay,
    RetentionStore,
    UnreadGroup,
)
from fastapi_events.store.segments import Segment, SegmentAge, SegmentStore
from fastapi_events.store.statements import Statements

logger = logging.getLogger("fastapi_events")

WORK = 2.0
"""Seconds of work in one round."""
LEAD = 1 / 8
"""A segment that is past its age as a whole within this share of the retention is left to be dropped whole."""
_REST = 16.0
_REMINDER = 86_400.0
_FOREVER = datetime.max.replace(tzinfo=UTC)


def ages_of(settings: EventsSettings) -> Ages:
    """The ages that are set; zero is for ever."""
    return Ages(
        history=settings.history_retention or None,
        dead_letters=settings.dead_letter_retention or None,
        processing=settings.processing_retention or None,
        dedupe=settings.dedupe_retention or None,
    )


@dataclass(slots=True)
class Pruned:
    """What a round removed, rows by table; ``segments`` of the log were dropped whole with all their events.

    ``more`` says that time ran out while there was something to remove, ``busy`` that somebody else was at it.
    ``kept_for`` are the groups for which old events are kept because they have not read them, ``kept_for_replays`` the
    replays that have still to read some.
    """

    rows: dict[str, int] = field(default_factory=dict[str, int])
    segments: int = 0
    more: bool = False
    busy: bool = False
    kept_for: tuple[UnreadGroup, ...] = ()
    kept_for_replays: tuple[KeepingReplay, ...] = ()

    def add(self, table: str, rows: int) -> None:
        """Count rows of a table."""
        if rows:
            self.rows[table] = self.rows.get(table, 0) + rows


class _Allowance:
    """Seconds of work, and rests between them. Whoever has one takes at least one step: so every round gets on."""

    def __init__(self, seconds: float, stopping: Callable[[], bool]) -> None:
        self._left, self._stopping = seconds, stopping
        self.spent = 0.0

    @property
    def endless(self) -> bool:
        return math.isinf(self._left)

    @property
    def over(self) -> bool:
        return self._left <= 0 or self._stopping()

    async def spend(self, work: Awaitable[Any]) -> Any:
        began = perf_counter()
        result = await work
        took = perf_counter() - began
        self._left -= took
        self.spent += took
        if not self.endless:
            await asyncio.sleep(took * _REST)
        return result


class Pruner:
    """Prunes in rounds; any number of processes may have one, one of them works at a time."""

    def __init__(self, database: Database, statements: Statements, ages: Ages) -> None:
        self._store, self._segments = RetentionStore(database, statements), SegmentStore(database, statements)
        self._ages = ages
        self._reminded: dict[str, float] = {}
        self._copied_up_to: dict[int, int] = {}
        self._pruned_up_to: dict[int, int] = {}
        self._places: dict[str, tuple[int, int]] = {}

    async def prune(
        self, seconds: float = WORK, *, every: float = 0, stopping: Callable[[], bool] = lambda: False
    ) -> Pruned:
        """One round of so many seconds of work; with ``math.inf`` everything, without rests.

        Nothing is done if any process began a round less than ``every`` seconds ago, and nothing more once
        ``stopping`` says so.
        """
        pruned, self._places = Pruned(), {}
        parts = (
            self._log, self._removed_groups, self._marks, self._deliveries, self._successes, self._event_keys,
            self._runs,
        )  # fmt: skip
        try:
            await self._store.begin_round(every)
            left = seconds
            for number, part in enumerate(parts):  # what one has not needed is there for those that follow
                allowance = _Allowance(left / (len(parts) - number), stopping)
                await self._part(part, pruned, allowance)
                left -= allowance.spent
        except AnotherIsAtIt:
            pruned.busy = True
        self._remind(pruned.kept_for)
        return pruned

    async def _part(
        self, part: Callable[[Pruned, _Allowance], Awaitable[None]], pruned: Pruned, allowance: _Allowance
    ) -> None:
        try:
            await part(pruned, allowance)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            logger.debug("retention gave way: %s", error)

    async def _log(self, pruned: Pruned, allowance: _Allowance) -> None:
        age = self._ages.history
        if age is None:
            return
        late = await allowance.spend(self._store.unread_groups())
        pruned.kept_for = tuple(group for group in late if group.age > age)
        floor = await allowance.spend(self._store.replay_floor())
        if floor is not None:
            replays = await allowance.spend(self._store.keeping_replays())
            pruned.kept_for_replays = tuple(replay for replay in replays if replay.age > age)
        for segment in await self._segments.segments():
            if floor is not None and segment.upper > floor and not segment.dropping:
                return  # a replay has still to read it
            if segment.dropping:
                await self._drop(segment, pruned)
            elif not await self._prune_segment(segment, age, pruned, allowance):
                return

    async def _prune_segment(self, segment: Segment, age: float, pruned: Pruned, allowance: _Allowance) -> bool:
        """Drop a segment or remove some of its rows; False if those above it are younger or time is over."""
        found = await allowance.spend(self._segments.age(segment))
        if segment.over and found.is_past(age):
            if not await allowance.spend(self._store.unread_groups(segment.lower, segment.upper)):
                if not await self._copy_waiting(segment, allowance):
                    pruned.more = True
                    return False
                await self._drop(segment, pruned)
            return not allowance.over
        if found.oldest is None or found.oldest <= age:
            return False
        if not (segment.over and found.is_past(age * (1 - LEAD))):
            await self._remove_rows(segment, found, age, pruned, allowance)
        return not allowance.over

    async def _drop(self, segment: Segment, pruned: Pruned) -> None:
        if await self._segments.drop(segment):
            pruned.segments += 1

    async def _copy_waiting(self, segment: Segment, allowance: _Allowance) -> bool:
        """After everybody has read the segment nothing can come to wait for it any more: what waits now is all."""
        after: int | None = self._copied_up_to.pop(segment.lower, segment.lower - 1)
        while after is not None:
            after = await allowance.spend(self._store.copy_waiting(after, segment.upper))
            if after is not None and allowance.over:
                self._copied_up_to[segment.lower] = after
                break
        return after is None

    async def _remove_rows(
        self, segment: Segment, found: SegmentAge, age: float, pruned: Pruned, allowance: _Allowance
    ) -> None:
        """Go up from where the last round stopped, to the first events that are too young; then begin at the bottom."""
        place = max(self._pruned_up_to.pop(segment.lower, 0), found.first)
        while place <= found.last:
            end = min(place + ROWS_AT_ONCE, segment.upper)
            removed, young = await allowance.spend(self._store.prune_events(place, end, age))
            pruned.add("event", removed)
            if young:
                return
            place = end
            if allowance.over:
                self._pruned_up_to[segment.lower] = place
                pruned.more |= removed > 0
                return

    async def _removed_groups(self, pruned: Pruned, allowance: _Allowance) -> None:
        while await allowance.spend(self._store.give_up_removed()):
            if allowance.over:
                pruned.more = True
                return

    async def _marks(self, pruned: Pruned, allowance: _Allowance) -> None:
        age = self._ages.processing
        if age is None:
            return
        # What a group has not read may have been handled already, by a process that died before it could say so: only
        # the mark knows. A group that is so far behind keeps all its marks.
        late = {group.name for group in await allowance.spend(self._store.unread_groups()) if group.age > age / 2}
        limits = [(handler, oldest) for handler, group, oldest in await self._store.mark_limits() if group not in late]
        kept_since = [_before(oldest, age) for _, oldest in limits]
        more = (age, [handler for handler, _ in limits], kept_since)
        await self._sweep("processing_mark", "prune_marks", more, pruned, allowance)

    async def _deliveries(self, pruned: Pruned, allowance: _Allowance) -> None:
        ages = (self._ages.history, self._ages.dead_letters)
        if ages != (None, None):
            await self._sweep("delivery", "prune_deliveries", ages, pruned, allowance)

    async def _successes(self, pruned: Pruned, allowance: _Allowance) -> None:
        if self._ages.history is not None:
            await self._sweep("success_batch", "prune_successes", (self._ages.history,), pruned, allowance)

    async def _event_keys(self, pruned: Pruned, allowance: _Allowance) -> None:
        if self._ages.dedupe is not None:
            await self._sweep("event_key", "prune_event_keys", (self._ages.dedupe,), pruned, allowance)

    async def _runs(self, pruned: Pruned, allowance: _Allowance) -> None:
        ages = (self._ages.history, self._ages.dead_letters)
        if ages != (None, None):
            await self._sweep("run_end", "jobs/prune_runs", ages, pruned, allowance)

    async def _sweep(
        self, table: str, statement: str, more: Sequence[Any], pruned: Pruned, allowance: _Allowance
    ) -> None:
        if not self._places:
            self._places = await allowance.spend(self._store.sweep_places())
        began, pages = self._places[table]
        page, removed = 0 if allowance.endless else began, 0
        while page < pages:
            removed = await allowance.spend(self._store.sweep(statement, page, more))
            pruned.add(table, removed)
            page += PAGES_AT_ONCE
            if allowance.over:
                break
        pruned.more |= page < pages and removed > 0
        page = page if page < pages else 0
        if page != began:
            await self._store.save_sweep(table, page)

    def _remind(self, groups: Sequence[UnreadGroup]) -> None:
        now = asyncio.get_running_loop().time()
        for group in groups:
            if now - self._reminded.get(group.name, -math.inf) >= _REMINDER:
                self._reminded[group.name] = now
                logger.warning(
                    "The group %r has not read event %d, published %s: it and what follows are kept beyond "
                    "history_retention. %s, or remove the group for good: "
                    "events.operations.remove_group(%r, actor=..., reason=...).",
                    group.name, group.position, group.published_at.isoformat(timespec="seconds"),
                    "It is paused: resume it" if group.paused else "Start its processes", group.name,
                )  # fmt: skip


def _before(moment: datetime | None, seconds: float) -> datetime:
    """So many seconds before a moment; without one there is no limit."""
    if moment is None:
        return _FOREVER
    try:
        return moment - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
