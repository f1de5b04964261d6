"""Runs that are started by an event, or together with one: the id of each follows from what it is the only one of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi_events.errors import ContradictoryOptions
from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.identity import run_id_with_event, triggered_run_id
from fastapi_events.model.job import Job
from fastapi_events.model.run_sealing import NO_OPTIONS, StartOptions, seal_run
from fastapi_events.model.run_start import RunStart
from fastapi_events.model.trigger import Trigger


def seal_triggered(
    job: Job[Any, Any], number: int, value: Any, event: UUID, trigger: int | None, flow: Flow, rules: PublishRules,
    given: StartOptions = NO_OPTIONS,
) -> RunStart:  # fmt: skip
    """The run that an event starts by the trigger of this number; by none, the one that is started together with it.

    ``flow`` is what the event hands on: also that it has no tenant, where it was published so. Raises as ``seal_run``.
    """
    run_id = run_id_with_event(event, number) if trigger is None else triggered_run_id(event, trigger)
    start = seal_run(job, number, value, flow, rules, replace(given, tenant_id=flow.tenant_id, run_id=run_id))
    return start._replace(source="event", source_ref=str(event), event_id=event, trigger_id=trigger)


def trigger_for(
    job: Job[Any, Any], event_name: str, wanted: str | Trigger[Any, Any] | None, owner: str
) -> Trigger[Any, Any] | None:
    """The trigger by which an event of this name starts the job: the only one there is, or the one that is wanted.

    Raises ``ContradictoryOptions`` if there are several and none is wanted, or what is wanted is none of them.
    """
    found = {trigger.id_for(job.name): trigger for trigger in job.triggers if trigger.event_name == event_name}
    if wanted is None:
        if len(found) > 1:
            raise ContradictoryOptions(
                f"{owner}: {len(found)} triggers of job {job.name!r} hear {event_name!r}: {', '.join(found)}. Say "
                f"whose run this is: trigger={next(iter(found))!r}."
            )
        return next(iter(found.values()), None)
    for trigger_id, trigger in found.items():
        if wanted is trigger or wanted == trigger_id:
            return trigger
    shown = wanted.id_for(job.name) if isinstance(wanted, Trigger) else ascii(wanted)[:80]
    there_are = f"Those are: {', '.join(found)}." if found else "It has none: leave trigger= out."
    raise ContradictoryOptions(
        f"{owner}: trigger={shown} is no trigger of job {job.name!r} on {event_name!r}. {there_are}"
    )
