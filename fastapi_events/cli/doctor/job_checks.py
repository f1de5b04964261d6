"""Checks of jobs: who runs them, and what waits for nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi_events.api.observe.job_readings import JOB_COUNT_LIMIT
from fastapi_events.api.observe.job_views import JobView, PoolView
from fastapi_events.cli.doctor.finding import Finding, ok, some, warn


def job_findings(jobs: Sequence[JobView], pools: Sequence[PoolView]) -> Iterator[Finding]:
    """What the readings of jobs tell; nothing where there is no job."""
    if not jobs:
        return
    yield _pools(pools)
    yield _missing(jobs, {pool.name for pool in pools if pool.workers})
    yield _paused(jobs)


def _pools(pools: Sequence[PoolView]) -> Finding:
    idle = [f"{pool.name} ({_count(pool.ready)} ready)" for pool in pools if pool.ready and not pool.workers]
    if idle:
        return warn(
            "pools", f"Runs are ready, and no live process runs these pools: {some(idle)}.",
            "Start a worker, or let one run them: its setting pools (EVENTS_POOLS) has to name them, or be left out.",
        )  # fmt: skip
    return ok("pools", "every pool with ready runs has a live process")


def _missing(jobs: Sequence[JobView], served: set[str]) -> Finding:
    """Jobs of pools that have processes, but none with the job: a pool without any is told of already."""
    waiting = [
        f"{job.name} ({_count(_held(job))} waiting)"
        for job in jobs
        if not job.processes and _held(job) and (job.pool in served or not job.ready)
    ]
    if waiting:
        return warn(
            "missing jobs", f"Runs wait for jobs that no live process has: {some(waiting)}.",
            "Deploy the code that has them, name them in was=(…) of their successors, or cancel the runs: "
            "fastapi-events jobs list --job NAME --state pending.",
        )  # fmt: skip
    return ok("missing jobs", "every job with runs to run is in a live process")


def _paused(jobs: Sequence[JobView]) -> Finding:
    stopped = [f"{job.name} ({_count(_held(job))} waiting)" for job in jobs if job.paused_at is not None]
    if stopped:
        return warn(
            "paused jobs", f"Paused jobs, of which no run begins: {some(stopped)}.",
            "To let one go on: fastapi-events jobs resume NAME.",
        )  # fmt: skip
    return ok("paused jobs", "none")


def _held(job: JobView) -> int:
    return (job.ready or 0) + (job.waiting or 0)


def _count(number: int) -> str:
    return f"{min(number, JOB_COUNT_LIMIT):,}{' or more' if number >= JOB_COUNT_LIMIT else ''}"
