"""A run as memory keeps it: what PostgreSQL has in its tables of runs, steps, signals, waits and ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi_events.model.run_start import RunStart
from fastapi_events.store.steps import StepRecord

Place = Literal["r", "t", "x", "w", "g"]
"""Where a run is that has not ended: ready, put off, at work, waiting for others, at a gate."""


@dataclass(frozen=True, slots=True)
class KeptEnd:
    """How a run ended."""

    state: str
    finished_at: datetime
    attempts: int
    reason: str | None = None
    note: str | None = None
    result: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    fingerprint: str | None = None
    duration: float = 0.0
    expires_at: datetime | None = None
    discarded: bool = False


@dataclass(slots=True)
class KeptStep:
    """A step, and until when it waits."""

    record: StepRecord
    due_at: datetime | None
    changed_at: datetime

    def row(self, now: datetime) -> dict[str, Any]:
        """As the engine reads it."""
        record, due = self.record, self.due_at
        return {
            "name": record.name, "number": record.number, "kind": record.kind, "state": record.state,
            "source": record.source, "result": record.result, "attempts": record.attempts,
            "seconds_left": None if due is None else (due - now).total_seconds(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeptWait:
    """An event that is awaited; ``since`` is the position above which it counts."""

    event_name: str
    key: str | None
    places: frozenset[int]
    since: int


@dataclass(slots=True, eq=False)
class KeptRun:
    """One run, from its start to its end and, if it is let begin anew, beyond that."""

    start: RunStart
    number: int
    created_at: datetime
    input: str
    place: Place = "r"
    due_at: datetime | None = None
    token: int = 0
    attempts: int = 0
    attempts_before: int = 0
    postponed: int = 0
    redrives: int = 0
    resumed: bool = False
    lapsed: bool = False
    children: int = 0
    has_family: bool = False
    wakes: bool = False
    news: int = 0
    heard: int = 0
    """The position of the log at which it was let begin anew."""
    cancel_reason: str | None = None
    gate: str | None = None
    holds: bool = False
    end: KeptEnd | None = None
    progress: tuple[float, float | None, datetime] | None = None
    steps: dict[str, KeptStep] = field(default_factory=dict[str, KeptStep])
    waits: dict[str, KeptWait] = field(default_factory=dict[str, KeptWait])
    signals: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    edits: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def id(self) -> UUID:
        return self.start.id

    @property
    def limit_key(self) -> str | None:
        """By which no more than so many may be at work."""
        return self.start.limits.limit_key if self.start.limits is not None else None

    @property
    def rate_key(self) -> str | None:
        """By which no more than so many may begin."""
        return self.start.limits.rate_key if self.start.limits is not None else None

    @property
    def exclusive(self) -> bool:
        """Whether starts of its key look for it."""
        return self.start.limits is not None and self.start.limits.exclusive

    @property
    def first_gate(self) -> str | None:
        """The gate that it comes to before each attempt."""
        if self.limit_key is not None:
            return f"c{self.limit_key}"
        return None if self.rate_key is None else f"r{self.rate_key}"

    def come(self) -> None:
        """Let it come to its gate, or be ready."""
        self.gate = None if self.holds else self.first_gate
        self.place, self.due_at = "r" if self.gate is None else "g", None

    def news_has_come(self) -> None:
        """Something that it may wait for has happened."""
        self.news += 1
        if self.place == "w":
            self.place, self.due_at = "r", None

    def claimed_row(self, ahead: Any) -> dict[str, Any]:
        """As a pool reads it; a job reads the wall clock, which ``ahead`` (a ``timedelta``) has not passed on."""
        own = (
            "number", "token", "attempts", "attempts_before", "postponed", "redrives", "resumed", "has_family",
            "cancel_reason", "input", "lapsed",
        )  # fmt: skip
        row = self.start._asdict() | {name: getattr(self, name) for name in own}
        return row | {
            "run_id": self.id,
            "crashes": 0,
            "crashes_alone": 0,
            "created_at": self.created_at - ahead,
        }
