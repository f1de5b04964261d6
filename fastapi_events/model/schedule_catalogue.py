"""The schedules of all modules together: each id is there once, each job is there, and takes its input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi_events.errors import DuplicateSchedule, InvalidInput, InvalidSchedule
from fastapi_events.model.job import Job
from fastapi_events.model.job_schedule import JobSchedule


def add_schedule(schedules: dict[str, JobSchedule], schedule: JobSchedule, jobs: Mapping[str, Job[Any, Any]]) -> None:
    """Add a schedule; raises ``DuplicateSchedule`` for a second one of its id, ``InvalidSchedule`` for its input."""
    other = schedules.setdefault(schedule.name, schedule)
    if other is not schedule:
        raise DuplicateSchedule(
            f"Two schedules have the id {schedule.name!r}: of {other.job} and of {schedule.job}. Give one of them "
            "another: @module.every(..., id='reports.nightly')."
        )
    if jobs.get(schedule.job.name) is not schedule.job:
        raise InvalidSchedule(
            f"{schedule}: {schedule.job} belongs to no module of this application. Put its module into "
            "Events(modules=[...])."
        )
    try:
        schedule.job.dump_input(schedule.input)
        schedule.job.scope_of(schedule.input)
    except InvalidInput as error:
        raise InvalidSchedule(
            f"{schedule}: {error} Say what each run is given: @module.every(..., input=...)."
        ) from error
