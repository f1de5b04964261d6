"""The schedules of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi_events.api.observe.job_shaping import run_summary
from fastapi_events.api.observe.job_views import RunSummary
from fastapi_events.api.observe.shaping import view_of
from fastapi_events.api.observe.view import View
from fastapi_events.model.job_schedule import ON_TIME, RETIRED_AFTER
from fastapi_events.model.tick_rule import TickRule
from fastapi_events.store.readings import Reader

MOST_SCHEDULES = 1_000
MOST_TICKS = 30
_MOST_COUNTED = 100
_MOST_UPCOMING = 5


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


class TickView(View):
    """A tick with the run that it has started; or, without one, ``missing`` ticks from ``at`` to ``until``.

    Those are by the rule as it is now: they were skipped or missed, the schedule was paused, another rule held, or the
    limits of the job let none be started.
    ``at_least``: counting them was stopped.
    """

    at: datetime
    run: RunSummary | None
    until: datetime | None = None
    missing: int = 0
    at_least: bool = False


class ScheduleDetail(ScheduleView):
    """A schedule with its recent ticks, the newest first, and the moments of those that come next.

    One that does not tick now, being paused or of no process, has none to come.
    """

    ticks: tuple[TickView, ...]
    upcoming: tuple[datetime, ...]


async def schedule_detail(reader: Reader, group: str | None, schedule_id: int) -> ScheduleDetail | None:
    """One schedule with what its ticks have started; None if the group has none of this number."""
    found = next((view for view in await schedule_views(reader, group) if view.id == schedule_id), None)
    if found is None:
        return None
    places = await reader.rows("jobs/list_runs_of_schedule", [schedule_id], None, MOST_TICKS, None)
    rows = await reader.rows("jobs/read_run_summaries", [place["id"] for place in places])
    runs = {row["id"]: run_summary(row) for row in rows}
    started = [TickView(at=place["place"], run=runs[place["id"]]) for place in places if place["id"] in runs]
    moment = (await reader.rows("schedules/read_moment"))[0][0]
    last = found.next_at if found.status == "ticking" else min(moment, found.next_at)
    rule = TickRule(found.spec, found.tz)
    upcoming = _upcoming(rule, found.next_at) if found.status == "ticking" else ()
    return view_of(ScheduleDetail, found.model_dump(), ticks=_with_gaps(rule, started, last), upcoming=upcoming)


def _upcoming(rule: TickRule, first: datetime) -> tuple[datetime, ...]:
    ticks = [first]
    with suppress(ValueError, KeyError, OSError):  # it never comes again; or it is of another release
        while len(ticks) < _MOST_UPCOMING:
            ticks.append(rule.first(ticks[-1]))
    return tuple(ticks)


def _with_gaps(rule: TickRule, started: Sequence[TickView], now: datetime) -> tuple[TickView, ...]:
    """Ticks, and between them those that the rule has and that started nothing."""
    found: list[TickView] = []
    try:
        until = now
        for tick in started:
            found += [*_gap(rule, tick.at, until), tick]
            until = tick.at
    except (ValueError, KeyError, OSError):  # the rule, or its time zone, is of another release
        return tuple(started)
    return tuple(found)


def _gap(rule: TickRule, before: datetime, until: datetime) -> list[TickView]:
    if before >= until:
        return []
    due = rule.due(before, until, _MOST_COUNTED)
    missing = [tick for tick in due.ticks if before < tick < until]
    if not missing:
        return []
    return [TickView(at=missing[0], run=None, until=missing[-1], missing=len(missing), at_least=due.more)]
