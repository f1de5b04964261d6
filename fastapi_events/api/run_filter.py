"""Which runs are wanted, as people and programs say it, and where a page of them ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from fastapi_events.errors import InvalidFilter, InvalidInput
from fastapi_events.model.job import Job, checked_job
from fastapi_events.model.job_context import RunState
from fastapi_events.model.job_keys import checked_scope
from fastapi_events.store.run_readings import ENDED, RunFilter

MOST_RUNS = 500


def run_filter(
    numbers: Mapping[str, int], job: Job[Any, Any] | None, *, state: Any, scope: Any, after: str | None, limit: Any
) -> RunFilter:
    """The filter; raises ``InvalidFilter`` for what is not understood, or does not go together."""
    if type(limit) is not int or not 1 <= limit <= MOST_RUNS:
        raise InvalidFilter(f"limit={ascii(limit)[:80]}: it is a whole number from 1 to {MOST_RUNS}.")
    if state is not None and state not in get_args(RunState):
        raise InvalidFilter(f"state={ascii(state)[:80]} is not one of {', '.join(get_args(RunState))}.")
    if scope is not None and (job is not None or state is not None):
        raise InvalidFilter("scope= does not go with job= or state=: leave those out, a scope has few runs.")
    try:
        if job is not None:
            checked_job(job, "jobs.list()", "jobs.list(restock, state='failed')")
        pair = None if scope is None else checked_scope(scope, "jobs.list()")
    except InvalidInput as error:
        raise InvalidFilter(str(error)) from None
    if job is not None and job.name not in numbers:
        raise InvalidFilter(f"job {job.name!r} belongs to no module of this application.")
    jobs = list(numbers.values()) if job is None else [numbers[job.name]]
    return RunFilter(jobs, state, pair, _place(after, state), limit)


def next_page(found: Sequence[tuple[Any, int | datetime]], limit: int) -> str | None:
    """Where the next page begins; None if this is the last one."""
    if len(found) < limit:
        return None
    place = found[-1][1]
    return place.isoformat() if isinstance(place, datetime) else str(place)


def _place(after: str | None, state: str | None) -> int | datetime | None:
    if after is None:
        return None
    try:
        return datetime.fromisoformat(after) if state in ENDED else int(after)
    except (TypeError, ValueError):
        raise InvalidFilter(f"after={ascii(after)[:80]} is no place in this list. Pass the next of a page.") from None
