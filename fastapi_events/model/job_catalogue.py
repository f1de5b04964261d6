"""The jobs of all modules together: each name and each trigger's id is there once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi_events.errors import DuplicateJob, DuplicateTrigger
from fastapi_events.model.job import Job


class Placed(Protocol):
    """Something that tells where it was declared."""

    @property
    def where(self) -> str:
        """File and line."""
        ...


def add_job(jobs: dict[str, Job[Any, Any]], job: Job[Any, Any]) -> None:
    """Add a job; raises ``DuplicateJob`` for a second one of its name, ``InvalidJob`` for a signature that fails."""
    other = jobs.setdefault(job.name, job)
    if other is not job:
        raise DuplicateJob(
            f"Two jobs have the name {job.name!r}: {other.where} and {job.where}. Rename one function or give it a "
            "name: @module.job('inventory.restock')."
        )
    job.types.read()


def check_former_names(jobs: Mapping[str, Job[Any, Any]]) -> None:
    """Raise ``DuplicateJob`` if a former name is that of another job, or the former name of two."""
    heirs: dict[str, Job[Any, Any]] = {}
    for job in jobs.values():
        for name in job.was:
            other = jobs.get(name) or heirs.setdefault(name, job)
            if other is not job:
                raise DuplicateJob(
                    f"{job} says that it was {name!r}, and so does or is {other}. The runs of that name can belong to "
                    "one of them only: take it out of was=."
                )


def check_triggers(jobs: Mapping[str, Job[Any, Any]], handlers: Mapping[str, Placed]) -> None:
    """Raise ``DuplicateTrigger`` if a trigger's id is that of another job's trigger, or of a handler."""
    owners: dict[str, str] = {name: f"handler {name!r} ({handler.where})" for name, handler in handlers.items()}
    for job in jobs.values():
        for trigger in job.triggers:
            trigger_id = trigger.id_for(job.name)
            if trigger_id in owners:
                raise DuplicateTrigger(
                    f"The id {trigger_id!r} is that of a trigger of {job} and of {owners[trigger_id]}. Give one of "
                    "them another: Trigger(..., id='...')."
                )
            owners[trigger_id] = f"a trigger of {job}"
