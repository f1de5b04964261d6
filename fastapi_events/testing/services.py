"""What the testing kit asks of the services of a started instance, on PostgreSQL or on memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.news import News
from fastapi_events.store.published import PublishedStore
from fastapi_events.store.run_readings import RunFilter
from fastapi_events.testing.instance import Instance

PAGE = 500
"""Runs that are read at once."""


def handlers_of(events: Instance) -> Mapping[str, Handler]:
    """The handlers as they are called, by id, broadcast handlers too; raises ``NotStarted``."""
    services = events.on_memory or events.runtime
    return {**services.plan.handlers, **{handler.id: handler for handler in services.broadcast_handlers}}


def handles_by_itself(events: Instance) -> bool:
    """Whether its loops handle events; raises ``NotStarted``."""
    if events.on_memory is not None:
        return events.on_memory.drains
    return events.runtime.drains and events.runtime.settings.enabled


def news_of(events: Instance) -> News:
    """What tells of commits and settlements in this process; raises ``NotStarted``."""
    return events.on_memory.hear() if events.on_memory is not None else events.runtime.wake.news


async def rows_published(events: Instance, name: str | None, *, after: int) -> Sequence[Any]:
    """What has been committed, of this name (None: of any) above a position; raises ``NotStarted``."""
    if events.on_memory is not None:
        return events.on_memory.published(name, after=after)
    runtime = events.runtime
    return await PublishedStore(runtime.database, runtime.statements).read(name, after=after)


async def runs_started(events: Instance, job: str | None) -> list[Mapping[str, Any]]:
    """The rows of the runs of a job (None: of all), in the order of starting; raises ``UnknownJob``, ``NotStarted``."""
    side = (events.on_memory or events.runtime).jobs
    if side is None:
        return []
    wanted = RunFilter([side.number(job)] if job is not None else sorted(side.numbers.values()), limit=PAGE)
    rows: list[Mapping[str, Any]] = []
    while wanted.jobs:
        page = await side.readings.page(wanted)
        rows += [row for row, _ in page]
        if len(page) < PAGE:
            break
        wanted = replace(wanted, after=page[-1][1])
    return rows[::-1]
