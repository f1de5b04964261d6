"""Triggers as the handlers that they are to the engine: each starts a run instead of calling a function."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi_events.model.job import Job
from fastapi_events.model.module import HandlerDeclaration
from fastapi_events.model.trigger import Trigger


def declarations_of(jobs: Iterable[Job[Any, Any]]) -> dict[str, HandlerDeclaration]:
    """The triggers of these jobs, by id. Where one was declared is where its job was."""
    return {trigger.id_for(job.name): _declaration(job, trigger) for job in jobs for trigger in job.triggers}


def _declaration(job: Job[Any, Any], trigger: Trigger[Any, Any]) -> HandlerDeclaration:
    """Unordered: runs have no order, so that an event whose trigger fails holds up none of its key.

    A renamed job carries its triggers' state along, unless they have ids of their own, which the name does not touch.
    """
    trigger_id = trigger.id_for(job.name)
    former = dict.fromkeys(trigger.id_for(name) for name in job.was)
    return HandlerDeclaration(
        trigger_id, job.module, job.function, trigger.event_name, trigger.event, ordered=False, job=job.name,
        was=tuple(one for one in former if one != trigger_id),
    )  # fmt: skip
