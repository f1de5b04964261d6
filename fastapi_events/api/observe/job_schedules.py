"""The schedules of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi_events.api.observe.shaping import view_of
from fastapi_events.api.observe.view import View
from fastapi_events.model.job_schedule import ON_TIME, RETIRED_AFTER
from fastapi_events.store.readings import Reader

MOST_SCHEDULES = 1_000


class ScheduleView(View):
    """A schedule, as the process that started last has declared it.

    ``spec`` is a cron expression read in ``tz``, or an interval (``@every 300s``). ``status``: ``overdue`` if its tick
    has not come for a minute, as no process that has it works; ``retired`` if none has had it for seven days.
    ``last_run_id`` is the run of its last tick; with a ``last_note`` that tick has started none, and says why: by the
    limits of its job that run stands for it.
    """

    id: int
    name: str
    group: str
    job: str
    spec: str
    tz: str
    missed: Literal["once", "skip", "all"]
    status: Literal["ticking", "paused", "overdue", "retired"]
    next_at: datetime
    last_tick_at: datetime | None
    last_run_id: UUID | None
    last_note: str | None
    registered_at: datetime
    last_seen_at: datetime
    paused_at: datetime | None


async def schedule_views(reader: Reader, group: str | None) -> list[ScheduleView]:
    """The schedules of a group (None: of every group), by name."""
    rows = await reader.rows("schedules/read_schedules", group, MOST_SCHEDULES, ON_TIME, RETIRED_AFTER)
    return [view_of(ScheduleView, row, group=row["group_name"]) for row in rows]
