"""A run of a job as it is started: what the database keeps of it from the first moment on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from fastapi_events.model.envelope import Envelope
from fastapi_events.model.lane import LaneNumber, LogPlace, place_of
from fastapi_events.model.run_limits import RunLimits
from fastapi_events.model.schedule import Due

RUNS = LaneNumber(62)
"""The lane that notifications name for runs of jobs; nothing is stored in it. The partition says what is new:"""
READY, WAITING, CANCELED, AWAITING, REPLACED = range(5)
"""runs are ready; one waits for a moment that may be nearer than those known; some are to be cancelled; one waits for
an event; one has taken the place of others."""


class RunStart(NamedTuple):
    """One run; ``input`` is JSON text. ``delay`` (seconds, by the database's clock) or ``at`` says when it is due.

    A tuple, as an ``Envelope`` is: it is made for every run.
    """

    id: UUID
    job_id: int
    name: str
    """The job's name, for people."""
    input: str
    correlation_id: UUID
    priority: int = 0
    depth: int = 0
    source: str = "manual"
    source_ref: str | None = None
    parent_id: UUID | None = None
    root_id: UUID | None = None
    on_parent_close: str | None = None
    causation_id: UUID | None = None
    tenant_id: str | None = None
    actor: str | None = None
    scope: str | None = None
    scope_id: str | None = None
    tags: tuple[str, ...] | None = None
    traceparent: str | None = None
    delay: float | None = None
    at: datetime | None = None
    event_id: UUID | None = None
    trigger_id: int | None = None
    """The event that it was started by, or together with, and the number of the trigger: there is one run of both."""
    schedule_id: int | None = None
    scheduled_for: datetime | None = None
    """The schedule that starts it, and the tick: there is one run of both, too."""
    limits: RunLimits | None = None

    @property
    def explicit_id(self) -> bool:
        """Whether the database must be asked if it is there already, as it must for some events."""
        return self.limits is not None and self.limits.asks

    @property
    def serialize(self) -> bool:
        """Whether it takes a lock, as some events do."""
        return False

    @property
    def due(self) -> Due:
        """As a scheduled event has one: it is no row of the log."""
        return 0.0

    @property
    def place(self) -> LogPlace:
        """What a notification says of it."""
        if self.limits is not None and self.limits.on_collision == "replace":
            return place_of(RUNS, REPLACED)
        return place_of(RUNS, READY if self.delay is None and self.at is None else WAITING)

    @property
    def is_duplicate(self) -> bool:
        """Whether another run stands for it, once the database has been asked."""
        return self.limits is not None and self.limits.existing is not None

    @property
    def standing(self) -> UUID:
        """The run that there is for this start, once the database has been asked: itself, or the one in its stead."""
        return self.limits.existing or self.id if self.limits is not None else self.id

    @property
    def is_derived(self) -> bool:
        """Whether its id follows from what it is the only run of, so that it may be there by another's hand."""
        return self.event_id is not None or self.schedule_id is not None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to it but job, input, priority and conversation, and it is due at once."""
        return self[6:] == _PLAIN


_PLAIN = RunStart(UUID(int=0), 0, "", "", UUID(int=0))[6:]

Sealed = Envelope | RunStart
"""What a transaction takes with it: an event, or a run that it starts."""


def apart(sealed: Sequence[Sealed]) -> tuple[Sequence[Envelope], Sequence[RunStart]]:
    """The events, and the runs, each in their order."""
    starts = [one for one in sealed if isinstance(one, RunStart)]
    return [one for one in sealed if isinstance(one, Envelope)], starts


def merged(sealed: Sequence[Sealed], duplicates: Sequence[bool], existing: Sequence[bool]) -> list[bool]:
    """For all of them whether it was there, from the answers for the events and for the runs among them."""
    events, runs = iter(duplicates), iter(existing)
    return [next(events if isinstance(one, Envelope) else runs) for one in sealed]
