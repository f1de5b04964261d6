"""Pools that settings name and no job is in: a slip of the pen, as a rule, by which a process runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from fastapi_events.model.job import Job
from fastapi_events.settings import EventsSettings
from fastapi_events.settings.concurrency import JOB_POOLS, POOLS


def unknown_pools(settings: EventsSettings, jobs: Iterable[Job[Any, Any]]) -> Iterator[str]:
    """What is wrong with each, and what was meant; nothing where there is no job."""
    used = {job.pool for job in jobs}
    if not used:
        return
    for name in settings.pools or ():
        if name not in used | JOB_POOLS.keys():
            yield (
                f"EVENTS_POOLS (pools) names the pool {name!r}, in which no job of this application is. "
                f"{_mend(name, used)}"
            )
    for name in sorted(settings.concurrency.keys() - POOLS.keys() - used):
        yield (
            f"EVENTS_CONCURRENCY (concurrency) has a number for the pool {name!r}, in which no job of this application "
            f"is. {_mend(name, used)}"
        )


def _mend(name: str, used: set[str]) -> str:
    near = get_close_matches(name, sorted(used | JOB_POOLS.keys()), n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Its jobs are in {', '.join(sorted(used))}."
