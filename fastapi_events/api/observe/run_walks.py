"""Orders in which runs are looked through: which index leads to them, where to begin, and where to stop."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi_events.api.observe.cursors import cursor_of, place_of
from fastapi_events.api.observe.job_schedules import MOST_SCHEDULES
from fastapi_events.api.observe.run_filters import RunsFilter, known_schedule
from fastapi_events.errors import InvalidFilter
from fastapi_events.model.job_schedule import ON_TIME, RETIRED_AFTER
from fastapi_events.store.readings import Reader
from fastapi_events.store.run_readings import ENDED, PENDING, RUNNING

MARGIN = timedelta(minutes=1)
"""How far the order of numbers and that of moments may be apart: both are drawn in one statement."""
_NUMBER = re.compile(r"\d{1,19}\Z")

Fetch = Callable[[Any, int], Awaitable[Sequence[Any]]]
"""The next rows (id and place) below a place, so many at most."""


@dataclass(frozen=True, slots=True)
class Walk:
    """An order of runs: how it goes on, how its places are written, where it begins and where nothing follows."""

    fetch: Fetch
    by_moment: bool = False
    first: Any = None
    last: datetime | None = None

    def start(self, cursor: str | None) -> Any:
        """The place that a cursor names; without one where it begins. Raises ``InvalidFilter``."""
        if not cursor:
            return self.first
        if self.by_moment:
            return place_of(cursor)
        if not _NUMBER.match(cursor) or int(cursor) >= 2**63:
            raise InvalidFilter(f"{cursor[:40]!r} is no position of this list. Go back to its first page.")
        return int(cursor)

    def place(self, row: Any) -> Any:
        """Where it goes on behind a row."""
        return (row["place"], row["id"]) if self.by_moment else row["place"]

    def written(self, row: Any) -> str:
        """The same as a cursor."""
        return cursor_of(row["place"], row["id"]) if self.by_moment else str(row["place"])

    def is_over(self, row: Any, summary: Any) -> bool:
        """Whether nothing that is wanted can follow this row."""
        if self.last is None:
            return False
        moment: datetime = row["place"] if self.by_moment else summary["created_at"]
        return moment < self.last


@dataclass(frozen=True, slots=True)
class Walks:
    """Finds the order in which the least is looked at in vain. ``jobs`` are those of the filter, ``group`` whose."""

    reader: Reader
    jobs: list[int]
    group: str | None
    tenants: tuple[str, ...] | None

    async def of(self, wanted: RunsFilter) -> Walk:
        """The order for a filter, between the moments that it names."""
        walk = await self._order(wanted)
        if wanted.schedule is not None:
            return walk
        if walk.by_moment:
            return replace(walk, first=wanted.before and (wanted.before, None), last=wanted.after)
        number = None if wanted.before is None else await self._number_at(wanted.before + MARGIN)
        last = None if wanted.after is None or wanted.by_end else wanted.after - MARGIN
        return replace(walk, first=number, last=last)

    async def _order(self, wanted: RunsFilter) -> Walk:
        if wanted.id is not None:
            return _alone(wanted.id)
        if wanted.event is not None:
            return self._by_number("list_runs_of_event", wanted.event)
        if wanted.schedule is not None:
            return self._by_moment("list_runs_of_schedule", await self._schedules(wanted.schedule))
        if wanted.scope is not None:
            return self._by_number("list_runs_of_scope", *wanted.scope)
        if wanted.parent is not None:
            return self._by_number("list_runs_of_parent", wanted.parent)
        if wanted.root is not None:
            return self._by_number("list_runs_of_root", wanted.root)
        return self._by_state(wanted)

    def _by_state(self, wanted: RunsFilter) -> Walk:
        jobs, state = self.jobs, wanted.state
        if state == "running":
            return self._by_number("list_waiting_runs", jobs, last=[list(RUNNING)])
        if state == "dead":
            return self._by_moment("list_dead_runs", jobs)
        if state in ENDED and state != "completed":
            return self._by_moment("list_ended_runs", jobs, last=[state])
        if (whose := self._whose(wanted)) is not None:
            return self._by_number("list_runs_of_tenants", whose)
        if state == "pending":
            return self._by_number("list_waiting_runs", jobs, last=[list(PENDING)])
        if state is not None:
            return self._by_moment("list_ended_runs", jobs, last=[state])
        return self._by_number("list_started_runs", jobs)

    def _by_number(self, statement: str, *first: Any, last: Sequence[Any] = ()) -> Walk:
        async def fetch(place: Any, limit: int) -> Sequence[Any]:
            return await self.reader.rows(f"jobs/{statement}", *first, place, limit, *last)

        return Walk(fetch)

    def _by_moment(self, statement: str, *first: Any, last: Sequence[Any] = ()) -> Walk:
        async def fetch(place: Any, limit: int) -> Sequence[Any]:
            moment, run = place or (None, None)
            return await self.reader.rows(f"jobs/{statement}", *first, moment, limit, *last, run)

        return Walk(fetch, by_moment=True)

    def _whose(self, wanted: RunsFilter) -> list[str] | None:
        if wanted.tenant is not None:
            return [wanted.tenant]
        return None if self.tenants is None else list(self.tenants)

    async def _schedules(self, name: str) -> list[int]:
        rows = await self.reader.rows("schedules/read_schedules", self.group, MOST_SCHEDULES, ON_TIME, RETIRED_AFTER)
        return known_schedule(name, rows)

    async def _number_at(self, moment: datetime) -> int:
        """The number of the first run that was started from a moment on: halving, as no index has the moments."""
        newest = await self.reader.row("jobs/read_last_run", self.jobs)
        low, high = 0, newest["number"] + 1 if newest is not None else 1
        while low < high:
            middle = (low + high) // 2
            found = await self.reader.row("jobs/read_first_run_from", self.jobs, middle)
            if found is None or found["created_at"] >= moment:
                high = middle
            else:
                low = found["number"] + 1
        return high


def _alone(run_id: UUID) -> Walk:
    async def fetch(place: Any, _limit: int) -> Sequence[Any]:
        return [] if place == 0 else [{"id": run_id, "place": 0}]

    return Walk(fetch)
