"""``publish.and_start``: an event and a run of a job in one transaction, the run being the one that it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import ContradictoryOptions, InvalidInput
from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.event import Event
from fastapi_events.model.job import Job
from fastapi_events.model.run_sealing import StartOptions
from fastapi_events.model.run_start import RunStart
from fastapi_events.model.trigger import Trigger
from fastapi_events.model.triggered import seal_triggered, trigger_for
from fastapi_events.model.unknown_options import check_known

_OF_EVENT = (
    "event_id", "occurred_at", "key", "tenant_id", "correlation_id", "causation_id", "headers", "also",
)  # fmt: skip
_OF_RUN = ("priority", "tags", "scope")
_OWNER = "publish.and_start()"


class AndStartKeywords(TypedDict, total=False):
    """Options of an event that starts a run: those of ``publish`` but for ``delay`` and ``at``, and of the run
    ``priority``, ``tags`` and ``scope``. What the run inherits, it inherits from the event."""

    event_id: UUID | None
    occurred_at: datetime | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID | None
    causation_id: UUID | None
    headers: Mapping[str, str] | None
    also: Event | Sequence[Event] | None
    priority: int | None
    tags: list[str] | tuple[str, ...]
    scope: tuple[str, Any] | None


class ToStart(NamedTuple):
    """Which job an event is to start, with what, by which of its triggers, and the options of the run."""

    job: Job[Any, Any]
    input: Any
    trigger: str | Trigger[Any, Any] | None
    given: StartOptions


def to_start(
    job: Any, value: Any, trigger: Any, options: Mapping[str, Any]
) -> tuple[ToStart, dict[str, Any]]:  # fmt: skip
    """What is to be started, and the options of the event alone.

    Raises ``InvalidInput`` for what is no job, ``UnknownOption`` and ``ContradictoryOptions``.
    """
    if not isinstance(job, Job):
        raise InvalidInput(
            f"{_OWNER} takes an event, a job and its input, not {ascii(job)[:80]}. Pass what @module.job() made: "
            "publish.and_start(StockLow(...), restock, Restock(...))."
        )
    if options.get("delay") is not None or options.get("at") is not None:
        raise ContradictoryOptions(
            f"{_OWNER} publishes and starts at once, and takes no delay= or at=. For an event that comes later declare "
            f"a trigger on job {job.name!r}: it starts the run when the event has come."
        )
    check_known(options, ("trigger", *_OF_EVENT, *_OF_RUN), owner=_OWNER)
    given = StartOptions(**{name: options[name] for name in _OF_RUN if name in options})
    return ToStart(job, value, trigger, given), {name: options[name] for name in _OF_EVENT if name in options}


def seal_start(envelope: Envelope, start: ToStart, port: PublishingPort) -> RunStart:
    """The run that goes with an event: that of the job's trigger on it, which then starts no second one.

    Raises as ``jobs.start``, and ``ContradictoryOptions`` if it cannot be told which trigger's it is.
    """
    job = start.job
    number = port.job_number(job.name)
    trigger = trigger_for(job, envelope.name, start.trigger, f"{_OWNER} of {envelope.name}")
    by = None if trigger is None else port.trigger_number(trigger.id_for(job.name))
    return seal_triggered(job, number, start.input, envelope.id, by, _flow_of(envelope), port.rules, start.given)


def _flow_of(envelope: Envelope) -> Flow:
    """What a run inherits that the event starts, as when a trigger handles it."""
    headers: Mapping[str, str] = json.loads(envelope.headers) if envelope.headers else {}
    return Flow(
        correlation_id=envelope.correlation_id, causation_id=envelope.id, tenant_id=envelope.tenant_id,
        actor=envelope.actor, traceparent=headers.get("traceparent"), depth=envelope.depth + 1,
    )  # fmt: skip
