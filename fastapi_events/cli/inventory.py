"""What an application has to run, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi_events.engine.pool_numbers import OF_ITS_OWN
from fastapi_events.model.registry import Registry
from fastapi_events.settings import EventsSettings


def pools_of(settings: EventsSettings, registry: Registry) -> dict[str, int]:
    """The pools whose jobs a process with these settings runs, and how many runs of each at once."""
    used = sorted({job.pool for job in registry.jobs.values()})
    return {
        pool: settings.concurrency.get(pool, OF_ITS_OWN)
        for pool in used
        if settings.pools is None or pool in settings.pools
    }


def inventory_of(events: Any) -> str:
    """What a started instance runs, as it is now: numbers of pools that somebody has set hold."""
    registry, jobs = events.registry, (events.on_memory or events.runtime).jobs
    handlers = counted(len(registry.handlers), "handler")
    return f"{handlers}, {job_inventory(registry, jobs.concurrency)}" if registry.jobs else handlers


def job_inventory(registry: Registry, pools: Mapping[str, int]) -> str:
    """Jobs with their pools, schedules and triggers; ``pools`` are those that are run, with how many runs at once."""
    here = sum(job.pool in pools for job in registry.jobs.values())
    number = len(registry.jobs)
    jobs = counted(here, "job") if here == number else f"{here} of {counted(number, 'job')}"
    if pools:
        shown = ", ".join(f"{name} ({at_once})" for name, at_once in sorted(pools.items()))
        jobs += f" in the pool{'' if len(pools) == 1 else 's'} {shown}"
    return ", ".join((jobs, counted(len(registry.schedules), "schedule"), counted(len(registry.triggers), "trigger")))


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
