"""The audit event that says how a run has ended."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi_events.model.event import Event


class RunEnded(Event, name="fastapi_events.run.ended", tier="audit", aggregate="run", aggregate_id="run_id"):
    """A run has ended; published by the database itself, in the transaction that ends it, for jobs that ``announce``.

    ``reason`` is why one failed (``max_attempts``, ``gave_up`` …), ``note`` what was said of it: why it was cancelled
    or discarded. ``attempts`` counts those of all redrives, ``duration`` is that of the last, in seconds. Input, result
    and error messages are read of the run itself.
    """

    run_id: UUID
    job: str
    state: Literal["completed", "failed", "timed_out", "canceled"]
    reason: str | None = None
    note: str | None = None
    error_type: str | None = None
    attempts: int
    redrives: int
    duration: float
    started_at: datetime
    source: Literal["manual", "schedule", "event", "parent"]
    parent_id: UUID | None = None
    root_id: UUID | None = None
    scope: str | None = None
    scope_id: str | None = None
    tags: tuple[str, ...] = ()
