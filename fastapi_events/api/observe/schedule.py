"""What waits for its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fastapi_events.api.observe.cursors import cursor_of, place_of
from fastapi_events.api.observe.shaping import lane_name, view_of
from fastapi_events.api.observe.views import View
from fastapi_events.store.readings import Reader

_HIGHEST = 2**63 - 1


class ScheduledEvent(View):
    """An event that waits for its time: it is in no history yet, and can be cancelled by its id until ``due_at``."""

    id: UUID
    name: str
    version: int
    lane: str
    aggregate: str | None
    aggregate_id: str | None
    tenant_id: str | None
    correlation_id: UUID
    causation_id: UUID | None
    actor: str | None
    occurred_at: datetime
    scheduled_at: datetime
    due_at: datetime


class SchedulePage(View):
    """A page of the schedule, what is due first; ``later`` is the cursor of the next page.

    ``scheduled`` and ``overdue`` are counted up to ``COUNT_LIMIT``; ``capped``: there are more.
    """

    events: tuple[ScheduledEvent, ...]
    later: str | None
    scheduled: int
    capped: bool
    overdue: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many events are scheduled, up to a bound, and how many of them are overdue, since when."""

    scheduled: int
    overdue: int
    oldest_due: datetime | None
    moment: datetime


async def schedule(reader: Reader, limit: int, tenants: Sequence[str] | None = None) -> Schedule:
    """The schedule at a glance, as people of these tenants see it (None: all); counting stops at ``limit``."""
    if tenants is None:
        row = await reader.row("read_schedule", limit)
    else:
        row = await reader.row("read_schedule_of_tenants", limit, tenants)
    return Schedule(row["scheduled"], row["overdue"], row["oldest_due"], row["moment"])


async def schedule_page(
    reader: Reader, cursor: str | None, size: int, limit: int, tenants: Sequence[str] | None
) -> SchedulePage:
    """A page of the schedule, what is due first, as people of these tenants see it (None: all)."""
    moment, last = place_of(cursor)
    known = await schedule(reader, limit + 1, tenants)
    number = None if last is None else min(last.int, _HIGHEST)
    if tenants is None:
        rows = await reader.rows("read_scheduled", moment, number, size + 1)
    else:
        rows = await reader.rows("read_scheduled_of_tenants", moment, number, size + 1, tenants)
    page = rows[:size]
    return SchedulePage(
        events=tuple(view_of(ScheduledEvent, row, lane=lane_name(row["lane"])) for row in page),
        later=cursor_of(page[-1]["due_at"], UUID(int=page[-1]["number"])) if len(rows) > size else None,
        scheduled=min(known.scheduled, limit),
        capped=known.scheduled > limit,
        overdue=known.overdue,
    )
