"""``jobs kinds``, ``jobs pools``, and pausing jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi_events.api.observe.job_readings import JOB_COUNT_LIMIT
from fastapi_events.api.observe.job_views import JobView
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.declared import declared_registry, shortened
from fastapi_events.cli.moments import ago
from fastapi_events.cli.terminal import Column, clean, print_json, print_table, say, title


class ListedJob(JobView):
    """A job, and ``where`` this application declares it."""

    where: str | None


@dataclass(frozen=True, slots=True)
class JobGated:
    """What became of a pause or its end: nothing ``changed`` if it was so already."""

    act: str
    job: str
    changed: bool


def counted(number: int | None) -> str | None:
    """A count, with a plus where counting was stopped."""
    return None if number is None else f"{number:,}{'+' if number >= JOB_COUNT_LIMIT else ''}"


def _status(job: JobView) -> str:
    return ", ".join(["live" if job.processes else "missing", *(["paused"] if job.paused_at else [])])


COLUMNS = (
    Column("JOB", lambda j: j.name, whole=True),
    Column("STATUS", _status),
    Column("LIVE", lambda j: j.processes, right=True),
    Column("READY", lambda j: counted(j.ready), right=True),
    Column("WAITING", lambda j: counted(j.waiting), right=True),
    Column("RUNNING", lambda j: counted(j.running), right=True),
    Column("FAILED", lambda j: counted(j.failed), right=True),
    Column("POOL", lambda j: j.pool),
    Column("FIRST READY", lambda j: ago(j.oldest_ready), wide=True, right=True),
    Column("SEEN", lambda j: ago(j.last_seen_at), wide=True, right=True),
    Column("WHERE", lambda j: j.where and shortened(j.where), wide=True),
)
POOL_COLUMNS = (
    Column("POOL", lambda p: p.name, whole=True),
    Column("PROCESSES", lambda p: len(p.workers), right=True),
    Column("ALL AT ONCE", lambda p: p.concurrency, right=True),
    Column("SET FOR EACH", lambda p: p.set_to, right=True),
    Column("RUNNING", lambda p: None if p.reserved else counted(p.running), right=True),
    Column("READY", lambda p: None if p.reserved else counted(p.ready), right=True),
    Column("JOBS", lambda p: ", ".join(p.jobs)),
)
RUNNING_COLUMNS = (
    Column("RUN", lambda r: r.id, whole=True),
    Column("JOB", lambda r: r.job),
    Column("TRY", lambda r: r.attempt, right=True),
    Column("AGE", lambda r: ago(r.created_at), right=True),
    Column("PROCESS", lambda r: r.process, wide=True),
)


async def list_jobs(events: Any, *, limit: int, as_json: bool) -> int:
    """The group's jobs."""
    async with operators_of(events) as operators:
        found = await operators.observe.jobs()
    declared = declared_registry(events).jobs
    rows = [
        ListedJob(**job.model_dump(), where=declared[job.name].where if job.name in declared else None)
        for job in found[:limit]
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(COLUMNS, rows, empty=f"The group {events.group!r} has no job. A process that starts registers its.")
    return 0


@dataclass(frozen=True, slots=True)
class _Running:
    id: Any
    job: str
    attempt: int
    created_at: Any
    process: str | None


async def list_pools(events: Any, *, reserved: bool = False, as_json: bool) -> int:
    """The group's pools, and what is at work in each."""
    async with operators_of(events) as operators:
        found = await operators.observe.pools(reserved=reserved)
    if as_json:
        print_json(found)
        return 0
    print_table(POOL_COLUMNS, found, empty=f"The group {events.group!r} has no job, and so no pool.")
    for pool in found:
        places = {worker.id: f"{worker.host}:{worker.pid}" for worker in pool.workers}
        runs = [
            _Running(run.id, run.job, run.attempt, run.created_at, places.get(run.worker_id) if run.worker_id else None)
            for run in pool.runs
        ]
        if runs:
            title(f"At work in {clean(pool.name)}")
            print_table(RUNNING_COLUMNS, runs, empty="")
    return 0


async def gate_job(events: Any, job: str, *, paused: bool, actor: str, reason: str, as_json: bool) -> int:
    """Pause a job, or let it go on, and say whether it changed anything."""
    async with operators_of(events) as operators:
        operations = operators.operations
        change = operations.pause_job if paused else operations.resume_job
        changed = await change(job, actor=actor, reason=reason)
    if as_json:
        print_json(JobGated("pause" if paused else "resume", job, changed))
        return 0
    before = "it was paused already" if paused else "it was not paused"
    said = ("paused" if paused else "resumed") if changed else f"nothing was changed, {before}"
    say(clean(f"{job} of the group {events.group}: {said}."))
    return 0
