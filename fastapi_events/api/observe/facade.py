"""The facade: every reading, each in one bounded read-only transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.api.observe.cursors import cursor_of, place_of
from fastapi_events.api.observe.filters import (
    DeadLetterFilter,
    EventFilter,
    checked_id,
    parse_dead_letter_filter,
    parse_event_filter,
)
from fastapi_events.api.observe.given import aware, position, tenants_within, whole
from fastapi_events.api.observe.groups import GroupView, groups
from fastapi_events.api.observe.history import MAX_ATTEMPTS, event_detail, event_page
from fastapi_events.api.observe.job_readings import JobReadings
from fastapi_events.api.observe.job_schedules import ScheduleDetail, ScheduleView, schedule_detail, schedule_views
from fastapi_events.api.observe.overview import (
    handler_views,
    lane_views,
    overview,
    tenants_overview,
    worker_views,
)
from fastapi_events.api.observe.page_size import page_size
from fastapi_events.api.observe.retention import KeptLog, kept_log
from fastapi_events.api.observe.schedule import SchedulePage, schedule, schedule_page
from fastapi_events.api.observe.shaping import attempts_by_delivery, dead_letter, delivery_detail, view_of
from fastapi_events.api.observe.views import (
    ActionPage,
    ActionView,
    BroadcastView,
    DeadLetterGroup,
    DeadLetterPage,
    DeliveryDetail,
    EventDetail,
    EventPage,
    HandlerView,
    Overview,
    WorkerView,
)
from fastapi_events.errors import InvalidFilter, NotFound
from fastapi_events.store.readings import Reader, ReadingPool
from fastapi_events.store.statements import Statements

COUNT_LIMIT = 10_000
"""Where counting stops; a count that reaches it means "or more"."""
_BEHIND_LIMIT = 1_000
_GROUP_LIMIT = 100
_BROADCAST_LIMIT = 1_000


class Observe(JobReadings):
    """What happened and how things stand, without changing anything.

    Every method is one read-only transaction on a pool of at most two connections of its own. Raises ``InvalidFilter``
    for what cannot be understood and ``ReadingUnavailable`` for what takes longer than two seconds or cannot be read
    now. Lists take a filter as people write it (``"name:orders.* status:dead"``) or an understood one.

    ``group`` limits everything but the log itself to the handlers of one consumer group; None is every group.
    ``database_url`` may name a read replica. ``pgbouncer``: a pooler in transaction mode stands between.
    ``history_retention`` is how many seconds events are kept; None is for ever.
    """

    def __init__(
        self, database_url: str, *, schema: str = "events", group: str | None = None, pgbouncer: bool = False,
        history_retention: float | None = None,
    ) -> None:  # fmt: skip
        self._pool, self._statements = ReadingPool(database_url, pgbouncer=pgbouncer), Statements(schema)
        self.group, self._history_retention = group, history_retention
        self._tenants: tuple[str, ...] | None = None

    def within(self, *tenants: str) -> Observe:
        """The same, as people of these tenants may see it: their events and nothing of the fleet.

        None named is nobody: everything is empty. Called on the result, it never widens what that may see.
        """
        narrowed = copy(self)
        narrowed._tenants = tenants_within(tenants, self._tenants, kind=InvalidFilter)
        return narrowed

    async def close(self) -> None:
        """Give the connections back; a later reading opens new ones."""
        await self._pool.close()

    async def overview(self) -> Overview:
        """Everything at a glance: what needs attention, how far each lane is, handlers, processes."""
        async with self._reading() as reader:
            if self._tenants is not None:
                return await tenants_overview(reader, self.group, COUNT_LIMIT, self._tenants)
            return await overview(reader, self.group, COUNT_LIMIT, self._history_retention)

    async def events(
        self, where: str | EventFilter = "", *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> EventPage:
        """A page of history, newest first: the newest, or next to a position that an earlier page gave."""
        wanted = parse_event_filter(where) if isinstance(where, str) else where
        before, after, size = position("before", before), position("after", after), page_size(limit)
        async with self._reading() as reader:
            return await event_page(reader, self.group, self._tenants, wanted, before=before, after=after, limit=size)

    async def event(self, event_id: UUID | str) -> EventDetail | None:
        """One event with content, deliveries, attempts and conversation; None if the log has it no more."""
        event_id = checked_id(event_id, "event_id")
        async with self._reading() as reader:
            return await event_detail(reader, self.group, self._tenants, event_id)

    async def scheduled(self, *, cursor: str | None = None, limit: int = 50) -> SchedulePage:
        """A page of the events that wait for their time, of every group; what is due first."""
        async with self._reading() as reader:
            return await schedule_page(reader, cursor, page_size(limit), COUNT_LIMIT, self._tenants)

    async def dead_letters(
        self, where: str | DeadLetterFilter = "", *, cursor: str | None = None, limit: int = 50
    ) -> DeadLetterPage:
        """A page of dead letters, newest first, and how many match up to this moment."""
        wanted, size = _dead_letter_filter(where), page_size(limit)
        moment, row_id = place_of(cursor)
        async with self._reading() as reader:
            count = await self._count(reader, wanted, None)
            rows = await reader.rows(
                "read_dead_letters", moment, row_id, size + 1, wanted.handler, wanted.event_name, wanted.fingerprint,
                self.group, _BEHIND_LIMIT, self._tenants,
            )  # fmt: skip
        page = rows[:size]
        return DeadLetterPage(
            dead_letters=tuple(dead_letter(row) for row in page),
            older=cursor_of(page[-1]["changed_at"], page[-1]["id"]) if len(rows) > size else None,
            matching=min(count["matching"], COUNT_LIMIT),
            capped=count["matching"] > COUNT_LIMIT,
            cut_off=count["moment"],
        )

    async def dead_letter_count(self, where: str | DeadLetterFilter = "", *, cut_off: datetime | None = None) -> int:
        """How many dead letters match that died before ``cut_off``; ``COUNT_LIMIT + 1`` stands for more than that.

        ``cut_off`` has a time zone.
        """
        wanted = _dead_letter_filter(where)
        if cut_off is not None:
            aware("cut_off", cut_off, kind=InvalidFilter)
        async with self._reading() as reader:
            return int((await self._count(reader, wanted, cut_off))["matching"])

    async def dead_letter_groups(self) -> Sequence[DeadLetterGroup]:
        """The newest dead letters by handler and cause, the largest group first."""
        async with self._reading() as reader:
            rows = await reader.rows("read_dead_letter_groups", COUNT_LIMIT, _GROUP_LIMIT, self.group, self._tenants)
        return [view_of(DeadLetterGroup, row, group=row["group_name"], event_names=row["names"]) for row in rows]

    async def delivery(self, delivery_id: UUID | str) -> DeliveryDetail | None:
        """One delivery with its attempts and, where kept, its event's content."""
        delivery_id = checked_id(delivery_id, "delivery_id")
        async with self._reading() as reader:
            row = await reader.row("read_delivery", delivery_id, _BEHIND_LIMIT, self.group, self._tenants)
            if row is None:
                return None
            attempts = attempts_by_delivery(await reader.rows("read_attempts", [delivery_id], MAX_ATTEMPTS))
        return delivery_detail(row, attempts.get(delivery_id, []))

    async def handlers(self) -> Sequence[HandlerView]:
        """Every handler of the group, with what waits for it and what is dead."""
        async with self._reading() as reader:
            return await handler_views(reader, self.group, COUNT_LIMIT, self._tenants)

    async def broadcasts(self) -> Sequence[BroadcastView]:
        """The broadcast handlers of live processes; 1,000 at most. Within tenants, as of processes, there are none."""
        if self._tenants is not None:
            return []
        async with self._reading() as reader:
            rows = await reader.rows("read_broadcasts", self.group, _BROADCAST_LIMIT)
        return [view_of(BroadcastView, row, group=row["group_name"]) for row in rows]

    async def schedules(self) -> Sequence[ScheduleView]:
        """The schedules of jobs, by name; 1,000 at most. They are no tenant's: within some, there are none."""
        if self._tenants is not None:
            return []
        async with self._reading() as reader:
            return await schedule_views(reader, self.group)

    async def schedule(self, schedule_id: int) -> ScheduleDetail | None:
        """One schedule with its recent ticks; None if there is none of this number, and within tenants."""
        number = whole("schedule_id", schedule_id, kind=InvalidFilter)
        if self._tenants is not None or not 0 < number < 2**31:
            return None
        async with self._reading() as reader:
            return await schedule_detail(reader, self.group, number)

    async def workers(self) -> Sequence[WorkerView]:
        """The processes, those alive first; 200 at most. They are no tenant's: within some, there are none."""
        if self._tenants is not None:
            return []
        async with self._reading() as reader:
            return (await worker_views(reader, self.group))[0]

    async def actions(self, *, cursor: str | None = None, limit: int = 50) -> ActionPage:
        """What operators did, newest first."""
        size = page_size(limit)
        moment, row_id = place_of(cursor)
        async with self._reading() as reader:
            rows = await reader.rows("read_actions", moment, row_id, size + 1, self._tenants)
        page = rows[:size]
        return ActionPage(
            actions=tuple(view_of(ActionView, row) for row in page),
            older=cursor_of(page[-1]["acted_at"], page[-1]["id"]) if len(rows) > size else None,
        )

    async def groups(self) -> list[GroupView]:
        """The consumer groups of every service, by name, those that were removed last. Within tenants: none."""
        if self._tenants is not None:
            return []
        async with self._reading() as reader:
            return await groups(reader)

    async def log(self) -> KeptLog:
        """How far back the log goes, and for which groups it keeps what is past its age; raises ``NotFound`` within
        tenants, as it is nobody's in particular."""
        if self._tenants is not None:
            raise NotFound("How far back the log goes is for staff: it is everybody's.")
        async with self._reading() as reader:
            return await kept_log(reader, self._history_retention)

    async def check_deliveries(self, delivery_ids: Sequence[UUID]) -> None:
        """Raise ``NotFound`` if one of these is none that people of these tenants may see; without tenants, nothing."""
        if self._tenants is None:
            return
        async with self._reading() as reader:
            row = await reader.row("find_foreign_deliveries", delivery_ids, self._tenants)
        if row is not None:
            raise NotFound(f"There is no delivery {row['id']}. Nothing was changed.")

    async def oldest_pending_age(self) -> float | None:
        """Seconds since the oldest event that has not been dealt with was published, or was due if it is scheduled.

        None if there is none. It is the fleet's, whatever the tenants.
        """
        async with self._reading() as reader:
            lanes, _ = await lane_views(reader, self.group)
            waits = await schedule(reader, 1)
        found = [waits.oldest_due, *(lane.oldest_pending for lane in lanes)]
        pending = [moment for moment in found if moment is not None]
        return max(0.0, (waits.moment - min(pending)).total_seconds()) if pending else None

    def _reading(self) -> AbstractAsyncContextManager[Reader]:
        return self._pool.transaction(self._statements)

    def _shown_group(self) -> str | None:
        return self.group

    async def _count(self, reader: Reader, wanted: DeadLetterFilter, cut_off: datetime | None) -> Any:
        return await reader.row(
            "read_dead_letter_count", cut_off, wanted.handler, wanted.event_name, wanted.fingerprint, self.group,
            COUNT_LIMIT + 1, self._tenants,
        )  # fmt: skip


def _dead_letter_filter(given: str | DeadLetterFilter) -> DeadLetterFilter:
    return parse_dead_letter_filter(given) if isinstance(given, str) else given
