"""Pages of runs: walked along whichever index fits the filter best, and sieved by the rest of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.api.observe.cursors import cursor_of, place_of
from fastapi_events.api.observe.job_shaping import run_summary
from fastapi_events.api.observe.job_views import RunPage
from fastapi_events.api.observe.run_filters import RunsFilter, known_job, pool_jobs
from fastapi_events.errors import InvalidFilter
from fastapi_events.store.readings import Reader
from fastapi_events.store.run_readings import ENDED, PENDING, RUNNING

MAX_LOOKED = 5_000
"""Runs that one page looks at, at most."""
_BATCH = 500
_NUMBER = re.compile(r"\d{1,19}\Z")

Place = int | datetime
Fetch = Callable[[Any, int], Awaitable[Sequence[Any]]]
"""The next rows (id and place) below a place, so many at most."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """An order of runs: how it goes on, and how its places are written."""

    fetch: Fetch
    by_end: bool = False

    def start(self, cursor: str | None) -> Any:
        """The place that a cursor names; None for the beginning. Raises ``InvalidFilter``."""
        if self.by_end:
            return None if not cursor else place_of(cursor)
        if not cursor:
            return None
        if not _NUMBER.match(cursor) or int(cursor) >= 2**63:
            raise InvalidFilter(f"{cursor[:40]!r} is no position of this list. Go back to its first page.")
        return int(cursor)

    def place(self, row: Any) -> Any:
        return (row["place"], row["id"]) if self.by_end else row["place"]

    def written(self, row: Any) -> str:
        return cursor_of(row["place"], row["id"]) if self.by_end else str(row["place"])


async def run_page(
    reader: Reader, known: Sequence[Any], tenants: tuple[str, ...] | None, wanted: RunsFilter, cursor: str | None,
    size: int,
) -> RunPage:  # fmt: skip
    """A page of the runs of these jobs; ``searched`` if the search was stopped before it was full."""
    jobs = _jobs(wanted, known)
    passes = _sieve(wanted, set(jobs), tenants)
    walk = _walk(reader, wanted, jobs, tenants)
    place, looked = walk.start(cursor), 0
    found: list[tuple[Any, Any]] = []
    while True:
        wish = size + 1 if not looked else _BATCH
        rows = await walk.fetch(place, wish)
        summaries = await _summaries(reader, [row["id"] for row in rows])
        found += [(row, summaries[row["id"]]) for row in rows if passes(summaries.get(row["id"]))]
        if len(found) > size:
            return _page(found[:size], walk.written(found[size - 1][0]), searched=False)
        if len(rows) < wish:
            return _page(found, None, searched=False)
        looked, place = looked + len(rows), walk.place(rows[-1])
        if looked >= MAX_LOOKED:
            return _page(found, walk.written(rows[-1]), searched=True)


def _page(found: Sequence[tuple[Any, Any]], older: str | None, *, searched: bool) -> RunPage:
    return RunPage(runs=tuple(run_summary(row) for _, row in found), older=older, searched=searched)


def _jobs(wanted: RunsFilter, known: Sequence[Any]) -> list[int]:
    jobs = [row["id"] for row in known]
    if wanted.job is not None:
        jobs = known_job(wanted.job, known)
    return jobs if wanted.pool is None else [job for job in pool_jobs(wanted.pool, known) if job in jobs]


def _walk(reader: Reader, wanted: RunsFilter, jobs: list[int], tenants: tuple[str, ...] | None) -> _Walk:
    """The order in which the least is looked at in vain."""

    def by_number(statement: str, *first: Any, last: Sequence[Any] = ()) -> _Walk:
        async def fetch(place: Any, limit: int) -> Sequence[Any]:
            return await reader.rows(f"jobs/{statement}", *first, place, limit, *last)

        return _Walk(fetch)

    if wanted.id is not None:
        return _alone(wanted.id)
    if wanted.scope is not None:
        return by_number("list_runs_of_scope", *wanted.scope)
    if wanted.parent is not None:
        return by_number("list_runs_of_parent", wanted.parent)
    if wanted.root is not None:
        return by_number("list_runs_of_root", wanted.root)
    if wanted.state == "running":
        return by_number("list_waiting_runs", jobs, last=[list(RUNNING)])
    if wanted.state in ENDED and wanted.state != "completed":
        return _by_end(reader, jobs, wanted.state)
    if (whose := _whose(wanted, tenants)) is not None:
        return by_number("list_runs_of_tenants", whose)
    if wanted.state == "pending":
        return by_number("list_waiting_runs", jobs, last=[list(PENDING)])
    return _by_end(reader, jobs, wanted.state) if wanted.state else by_number("list_started_runs", jobs)


def _by_end(reader: Reader, jobs: list[int], state: str) -> _Walk:
    async def fetch(place: Any, limit: int) -> Sequence[Any]:
        moment, last = place or (None, None)
        return await reader.rows("jobs/list_ended_runs", jobs, moment, limit, state, last)

    return _Walk(fetch, by_end=True)


def _alone(run_id: UUID) -> _Walk:
    async def fetch(place: Any, _limit: int) -> Sequence[Any]:
        return [] if place is not None else [{"id": run_id, "place": 0}]

    return _Walk(fetch)


def _whose(wanted: RunsFilter, tenants: tuple[str, ...] | None) -> list[str] | None:
    if wanted.tenant is not None:
        return [wanted.tenant]
    return None if tenants is None else list(tenants)


def _sieve(wanted: RunsFilter, jobs: set[int], tenants: tuple[str, ...] | None) -> Callable[[Any], bool]:
    """Whether a row is what is wanted: all of the filter, whatever order it is found in."""
    exactly = {
        "id": wanted.id, "state": wanted.state, "tenant_id": wanted.tenant, "parent_id": wanted.parent,
        "root_id": wanted.root,
    }  # fmt: skip
    if wanted.scope is not None:
        exactly["scope"], exactly["scope_id"] = wanted.scope
    equal = {name: value for name, value in exactly.items() if value is not None}

    def passes(row: Any) -> bool:
        if row is None or row["job_id"] not in jobs or (tenants is not None and row["tenant_id"] not in tenants):
            return False
        if wanted.tag is not None and wanted.tag not in (row["tags"] or ()):
            return False
        return all(row[name] == value for name, value in equal.items())

    return passes


async def _summaries(reader: Reader, ids: Sequence[UUID]) -> dict[UUID, Any]:
    return {row["id"]: row for row in await reader.rows("jobs/read_run_summaries", ids)} if ids else {}
