"""Checks of jobs: who runs them, and what waits for nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi_events.api.observe.job_readings import JOB_COUNT_LIMIT
from fastapi_events.api.observe.job_schedules import ScheduleView
from fastapi_events.api.observe.job_views import JobView, PoolView
from fastapi_events.cli.doctor.finding import Finding, warn_of
from fastapi_events.cli.moments import exact


def job_findings(
    jobs: Sequence[JobView], pools: Sequence[PoolView], schedules: Sequence[ScheduleView]
) -> Iterator[Finding]:  # fmt: skip
    """What the readings of jobs tell; nothing where there is no job."""
    if not jobs:
        return
    yield _pools(pools)
    yield _missing(jobs, {pool.name for pool in pools if pool.workers})
    yield _paused(jobs)
    yield _dead(jobs)
    if schedules:
        yield _paused_schedules(schedules)
        yield _overdue(schedules)


def _pools(pools: Sequence[PoolView]) -> Finding:
    return warn_of(
        "pools", [f"{pool.name} ({_count(pool.ready)} ready)" for pool in pools if pool.ready and not pool.workers],
        "Runs are ready, and no live process runs these pools: {}.",
        "Start a worker, or let one run them: its setting pools (EVENTS_POOLS) has to name them, or be left out.",
        well="every pool with ready runs has a live process",
    )  # fmt: skip


def _missing(jobs: Sequence[JobView], served: set[str]) -> Finding:
    """Jobs of pools that have processes, but none with the job: a pool without any is told of already."""
    waiting = [
        f"{job.name} ({_count(_held(job))} waiting)"
        for job in jobs
        if not job.processes and _held(job) and (job.pool in served or not job.ready)
    ]
    return warn_of(
        "missing jobs", waiting, "Runs wait for jobs that no live process has: {}.",
        "Deploy the code that has them, name them in was=(…) of their successors, or cancel the runs: "
        "fastapi-events jobs list --job NAME --state pending.",
        well="every job with runs to run is in a live process",
    )  # fmt: skip


def _paused(jobs: Sequence[JobView]) -> Finding:
    return warn_of(
        "paused jobs", [f"{job.name} ({_count(_held(job))} waiting)" for job in jobs if job.paused_at is not None],
        "Paused jobs, of which no run begins: {}.", "To let one go on: fastapi-events jobs resume NAME.",
    )  # fmt: skip


def _dead(jobs: Sequence[JobView]) -> Finding:
    return warn_of(
        "dead runs", [f"{job.name} ({_count(job.dead)})" for job in jobs if job.dead],
        "Runs that have failed for good, and nobody has dealt with: {}.",
        "See 'fastapi-events jobs list --state dead'; mend the cause, then 'jobs retry' or 'jobs discard'.",
    )  # fmt: skip


def _paused_schedules(schedules: Sequence[ScheduleView]) -> Finding:
    return warn_of(
        "paused schedules", [one.name for one in schedules if one.status == "paused"],
        "Paused schedules, which start nothing: {}.", "To let one go on: fastapi-events schedules resume NAME.",
    )  # fmt: skip


def _overdue(schedules: Sequence[ScheduleView]) -> Finding:
    return warn_of(
        "overdue schedules",
        [f"{one.name} (since {exact(one.next_at)})" for one in schedules if one.status == "overdue"],
        "Schedules whose tick no process has made: {}.",
        "Start a worker that has their jobs. One that no code has any more retires by itself in seven days.",
    )  # fmt: skip


def _held(job: JobView) -> int:
    return (job.ready or 0) + (job.waiting or 0)


def _count(number: int) -> str:
    return f"{min(number, JOB_COUNT_LIMIT):,}{' or more' if number >= JOB_COUNT_LIMIT else ''}"
