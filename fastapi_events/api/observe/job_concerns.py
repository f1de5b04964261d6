"""What needs a person of jobs, their runs and schedules. Nothing is said of what is well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi_events.api.observe.job_readings import JOB_COUNT_LIMIT, job_counts, known_jobs
from fastapi_events.api.observe.job_schedules import ScheduleView, schedule_views
from fastapi_events.api.observe.job_shaping import job_view
from fastapi_events.api.observe.job_views import JobView
from fastapi_events.api.observe.views import Concern
from fastapi_events.store.readings import Reader

LATE = 60.0
"""Seconds after which a run whose time has come, and that nobody moves on, is worth an alarm."""
BEHIND = 600.0
"""Seconds after which a ready run that still waits for a free place is worth a warning."""
_MOST_LATE = 1_000


@dataclass(frozen=True, slots=True)
class JobStanding:
    """How the jobs of a group stand."""

    jobs: tuple[JobView, ...] = ()
    dead: int = 0
    concerns: tuple[Concern, ...] = ()

    @property
    def capped(self) -> bool:
        """Whether there are more dead runs than were counted."""
        return any((job.dead or 0) >= JOB_COUNT_LIMIT for job in self.jobs)


async def job_standing(reader: Reader, group: str | None, moment: datetime) -> JobStanding:
    """The jobs of a group with what needs attention, those in trouble first; nothing for a group without jobs."""
    known = await known_jobs(reader, group)
    if not known:
        return JobStanding()
    counts = await job_counts(reader, known)
    views = [job_view(row, counts[row["id"]]) for row in known]
    late = await reader.rows("jobs/read_late_runs", [row["id"] for row in known], LATE, _MOST_LATE)
    found = [
        *_dead(views),
        *_late(moment, {view.id: view for view in views}, late),
        *_unserved(moment, views),
        *_overdue(await schedule_views(reader, group)),
    ]
    views.sort(key=lambda job: (-(job.dead or 0), -(job.failed or 0), -(job.ready or 0), job.name))
    return JobStanding(tuple(views), sum(view.dead or 0 for view in views), tuple(found))


async def tenants_standing(reader: Reader, group: str | None, tenants: Sequence[str]) -> JobStanding:
    """The same for people of some tenants: their dead runs, and nothing of the fleet."""
    known = await known_jobs(reader, group)
    if not known:
        return JobStanding()
    row = await reader.row("jobs/count_dead_runs", group, JOB_COUNT_LIMIT, tenants)
    dead: int = row["dead"] if row is not None else 0
    views = tuple(job_view(dict(row) | {"processes": None}, None) for row in known)
    return JobStanding(views, dead, (_of_dead(f"{_count(dead, 'run')} dead", ""),) if dead else ())


def _of_dead(what: str, where: str) -> Concern:
    return Concern(
        severity="error", what=what, why="Nobody has retried or discarded them since they failed.", page="runs",
        filter=f"{where}state:dead",
    )  # fmt: skip


def _dead(jobs: Sequence[JobView]) -> Iterator[Concern]:
    for job in sorted(jobs, key=lambda job: -(job.dead or 0)):
        if job.dead:
            many = f"{job.dead:,} or more dead runs" if job.dead >= JOB_COUNT_LIMIT else _count(job.dead, "dead run")
            yield _of_dead(f"{job.name} has {many}", f"job:{job.name} ")


def _late(moment: datetime, jobs: dict[int, JobView], rows: Sequence[Any]) -> Iterator[Concern]:
    for row in rows:
        job, age = jobs[row["job_id"]], (moment - row["since"]).total_seconds()
        many = f"{row['runs']:,} or more runs" if row["runs"] >= _MOST_LATE else _count(row["runs"], "run")
        if row["at_work"]:
            yield Concern(
                severity="error", what=f"{many} of {job.name} {'is' if row['runs'] == 1 else 'are'} stuck",
                why=f"The process has vanished, {age:,.0f} s ago, and no other one takes over. Start a worker.",
                page="runs", filter=f"job:{job.name} state:running",
            )  # fmt: skip
        else:
            yield Concern(
                severity="error", what=f"{many} of {job.name} {'is' if row['runs'] == 1 else 'are'} overdue",
                why=f"The time came {age:,.0f} s ago, and no process looks. Start a worker.",
                page="runs", filter=f"job:{job.name} state:pending",
            )  # fmt: skip


def _unserved(moment: datetime, jobs: Sequence[JobView]) -> Iterator[Concern]:
    for job in jobs:
        ready, age = job.ready or 0, (moment - job.oldest_ready).total_seconds() if job.oldest_ready else 0.0
        waits = (
            f"{ready:,} or more runs wait" if ready >= JOB_COUNT_LIMIT else f"{_count(ready, 'run waits', 'runs wait')}"
        )
        if job.paused_at is not None:
            yield Concern(severity="warning", what=f"{job.name} is paused", why=f"{waits}.", page="jobs")
        elif ready and not job.processes and age > LATE:
            yield Concern(
                severity="error", what=f"No live process runs {job.name}",
                why=f"{waits}. Start a worker that has it and its pool ({job.pool}).", page="jobs",
            )  # fmt: skip
        elif ready and age > BEHIND:
            yield Concern(
                severity="warning", what=f"The pool {job.pool} is behind with {job.name}",
                why=f"{waits} for a free place; the first in line was started {age / 60:,.0f} min ago.",
                page="runs", filter=f"job:{job.name} state:pending",
            )  # fmt: skip


def _overdue(schedules: Sequence[ScheduleView]) -> Iterator[Concern]:
    for schedule in schedules:
        if schedule.status == "overdue":
            yield Concern(
                severity="error", what=f"The schedule {schedule.name} does not tick",
                why=f"Its tick of {schedule.next_at:%Y-%m-%d %H:%M} UTC has not come. Start a process that has it.",
                page="schedules",
            )  # fmt: skip
        elif schedule.status == "paused":
            yield Concern(
                severity="warning", what=f"The schedule {schedule.name} is paused",
                why="It starts nothing until somebody resumes it.", page="schedules",
            )  # fmt: skip


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
