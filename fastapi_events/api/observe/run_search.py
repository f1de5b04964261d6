"""Pages of runs: walked along whichever index fits the filter best, and sieved by the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi_events.api.observe.job_shaping import run_summary
from fastapi_events.api.observe.job_views import MatchingRuns, RunPage
from fastapi_events.api.observe.run_filters import RunsFilter, StateTerm, known_job, pool_jobs
from fastapi_events.api.observe.run_walks import Walk, Walks
from fastapi_events.errors import InvalidFilter
from fastapi_events.store.readings import Reader

MAX_LOOKED = 5_000
"""Runs that one page looks at, at most."""
MOST_SEARCHES = 8
"""Times that looking for all that match goes on after so many were looked at for one page."""
_BATCH = 500

RunAct = Literal["cancel", "retry", "discard"]
_ACTED_ON: dict[RunAct, tuple[tuple[StateTerm, ...], tuple[StateTerm, ...]]] = {
    "cancel": (("pending", "running"), ("pending", "running")),
    "retry": (("dead",), ("dead", "failed", "timed_out", "canceled")),
    "discard": (("dead",), ("dead", "failed", "timed_out")),
}
"""Of each action the states that it is about if none is named, and those that may be."""


class RunSearch:
    """Looks for runs of a group's jobs (``known``), as people of these tenants may see them."""

    def __init__(
        self, reader: Reader, known: Sequence[Any], group: str | None, tenants: tuple[str, ...] | None
    ) -> None:
        self._reader, self._known, self._group, self._tenants = reader, known, group, tenants

    async def page(self, wanted: RunsFilter, cursor: str | None, size: int) -> RunPage:
        """A page of runs; ``searched`` if the search was stopped before it was full."""
        jobs = _jobs(wanted, self._known)
        walk = await Walks(self._reader, jobs, self._group, self._tenants).of(wanted)
        return await self._walked(walk, _sieve(wanted, set(jobs), self._tenants), cursor, size)

    async def matching(self, act: RunAct, wanted: RunsFilter, cut_off: datetime, most: int) -> MatchingRuns:
        """Runs that pass the filter and that an action can be about, so many at most, without what came later."""
        ids: list[UUID] = []
        before = cut_off if wanted.before is None else min(cut_off, wanted.before)
        for state in acted_on(act, wanted):
            ids += await self._all(replace(wanted, state=state, before=before), most + 1 - len(ids))
        return MatchingRuns(ids=tuple(ids[:most]), capped=len(ids) > most, cut_off=cut_off)

    async def _all(self, wanted: RunsFilter, most: int) -> list[UUID]:
        ids: list[UUID] = []
        cursor, searches = None, 0
        while len(ids) < most:
            page = await self.page(wanted, cursor, min(_BATCH, most - len(ids)))
            ids += [run.id for run in page.runs if not (wanted.state in ("failed", "timed_out") and run.discarded_at)]
            cursor, searches = page.older, searches + page.searched
            if cursor is None:
                break
            if searches >= MOST_SEARCHES:
                raise InvalidFilter(
                    f"Looking for all that match was stopped after {MAX_LOOKED * MOST_SEARCHES:,} runs, as too few of "
                    "them do. Narrow the filter: job:, state:, scope: and after: are looked up directly."
                )
        return ids

    async def _walked(self, walk: Walk, passes: Callable[[Any], bool], cursor: str | None, size: int) -> RunPage:
        place, looked = walk.start(cursor), 0
        found: list[tuple[Any, Any]] = []
        while True:
            wish = size + 1 if not looked else _BATCH
            rows = await walk.fetch(place, wish)
            summaries = await self._summaries([row["id"] for row in rows])
            found += [(row, summaries[row["id"]]) for row in rows if passes(summaries.get(row["id"]))]
            if len(found) > size:
                return _page(found[:size], walk.written(found[size - 1][0]), searched=False)
            if len(rows) < wish or _is_over(walk, rows[-1], summaries):
                return _page(found, None, searched=False)
            looked, place = looked + len(rows), walk.place(rows[-1])
            if looked >= MAX_LOOKED:
                return _page(found, walk.written(rows[-1]), searched=True)

    async def _summaries(self, ids: Sequence[UUID]) -> dict[UUID, Any]:
        rows = await self._reader.rows("jobs/read_run_summaries", ids) if ids else []
        return {row["id"]: row for row in rows}


def acted_on(act: RunAct, wanted: RunsFilter) -> tuple[StateTerm, ...]:
    """The states of the runs that an action on what matches is about; raises ``InvalidFilter``."""
    unsaid, possible = _ACTED_ON[act]
    if wanted.state is None:
        return unsaid
    if wanted.state not in possible:
        verb = {"cancel": "cancelled", "retry": "retried", "discard": "discarded"}[act]
        raise InvalidFilter(
            f"state:{wanted.state}: runs are {verb} that are {' or '.join(possible)}. Name one of these, or none."
        )
    return (wanted.state,)


def possible_acts(state: StateTerm | None) -> tuple[RunAct, ...]:
    """The actions that runs of a state can take; of any, all of them."""
    return tuple(act for act, (_, states) in _ACTED_ON.items() if state is None or state in states)


def _is_over(walk: Walk, row: Any, summaries: dict[UUID, Any]) -> bool:
    summary = summaries.get(row["id"])
    return summary is not None and walk.is_over(row, summary)


def _page(found: Sequence[tuple[Any, Any]], older: str | None, *, searched: bool) -> RunPage:
    return RunPage(runs=tuple(run_summary(row) for _, row in found), older=older, searched=searched)


def _jobs(wanted: RunsFilter, known: Sequence[Any]) -> list[int]:
    jobs = [row["id"] for row in known]
    if wanted.job is not None:
        jobs = known_job(wanted.job, known)
    return jobs if wanted.pool is None else [job for job in pool_jobs(wanted.pool, known) if job in jobs]


def _sieve(wanted: RunsFilter, jobs: set[int], tenants: tuple[str, ...] | None) -> Callable[[Any], bool]:
    """Whether a row is what is wanted: all of the filter, whatever order it is found in."""
    exactly = {
        "id": wanted.id, "tenant_id": wanted.tenant, "parent_id": wanted.parent, "root_id": wanted.root,
        "source": wanted.source, "event_id": wanted.event, "fingerprint": wanted.cause,
        "state": None if wanted.state == "dead" else wanted.state,
    }  # fmt: skip
    if wanted.scope is not None:
        exactly["scope"], exactly["scope_id"] = wanted.scope
    equal = {name: value for name, value in exactly.items() if value is not None}
    moment = "finished_at" if wanted.by_end else "created_at"

    def passes(row: Any) -> bool:
        if row is None or row["job_id"] not in jobs or (tenants is not None and row["tenant_id"] not in tenants):
            return False
        if wanted.not_source is not None and row["source"] == wanted.not_source:
            return False
        if wanted.tag is not None and wanted.tag not in (row["tags"] or ()):
            return False
        if wanted.state == "dead" and not (row["state"] in ("failed", "timed_out") and row["discarded_at"] is None):
            return False
        return all(row[name] == value for name, value in equal.items()) and _in_time(row[moment], wanted)

    return passes


def _in_time(moment: datetime | None, wanted: RunsFilter) -> bool:
    if wanted.after is None and wanted.before is None:
        return True
    if moment is None or (wanted.after is not None and moment < wanted.after):
        return False
    return wanted.before is None or moment < wanted.before
