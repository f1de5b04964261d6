"""A run of a job as it is started: what the database keeps of it from the first moment on."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


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

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to it but job, input, priority and conversation, and it is due at once."""
        return self[6:] == _PLAIN


_PLAIN = RunStart(UUID(int=0), 0, "", "", UUID(int=0))[6:]
