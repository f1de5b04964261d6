"""One attempt at a run of a job, as everybody sees it who has to do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.item import Item
from fastapi_events.engine.jobs.ready_job import ReadyJob
from fastapi_events.engine.jobs.run_log import RunLines
from fastapi_events.engine.run import Run
from fastapi_events.errors import DeclarationError, HandlerSessionMisuse, StepError
from fastapi_events.model.context import Flow
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.runs import RunClaim

NO_LANE = -1
"""Jobs are in none."""


class RunItem:
    """What was claimed: the run's row, in the place that an event has for a handler."""

    __slots__ = ("id", "row")

    lane = NO_LANE

    def __init__(self, row: Any) -> None:
        self.row = row
        self.id: UUID = row["run_id"]

    @property
    def postponed(self) -> int:
        """How often its attempts were postponed or interrupted before."""
        return self.row["postponed"] or 0

    def flow(self) -> Flow:
        """What events and runs that the job makes inherit."""
        row = self.row
        return Flow(
            correlation_id=row["correlation_id"], causation_id=self.id, tenant_id=row["tenant_id"], actor=row["actor"],
            traceparent=row["traceparent"], depth=row["depth"] + 1,
        )  # fmt: skip


class JobRun(Run):
    """One attempt at a run. A crew makes it as it makes a handler's."""

    noun = "job"
    misuse = (DeclarationError, StepError, HandlerSessionMisuse)
    __slots__ = (
        "awaits",
        "called",
        "canceled",
        "claim",
        "family",
        "job",
        "lines",
        "on_heartbeat",
        "recording",
        "result",
        "seen",
        "settling",
        "suspect",
        "unrecorded",
        "wakes",
    )

    def __init__(self, job: ReadyJob, row: Any) -> None:
        attempts = row["attempts"] - row["attempts_before"]
        # A crew, and what outcomes come of, ask of both no more than what jobs and runs have too.
        again = row["lapsed"] or row["redrives"] > 0
        super().__init__(cast("Handler", job), cast("Item", RunItem(row)), attempts + 1, redelivered=again)
        self.job = job
        self.claim = RunClaim(row["run_id"], row["token"])
        self.result: str | None = None
        """What the job returned, as JSON text."""
        self.lines: RunLines | None = None
        """What it says of itself, once it has said something."""
        self.on_heartbeat: Callable[[], None] | None = None
        self.called = False
        """Whether the job's function was called."""
        self.unrecorded = 0
        """How many functions of steps were called, and nothing of what they came to is recorded."""
        self.canceled: str | None = None
        """Why it is to be cancelled, once somebody has said so."""
        self.family: bool = row["has_family"]
        """Whether it has spawned others."""
        self.recording: set[asyncio.Future[Any]] = set()
        """Results of steps that are being recorded, whatever becomes of the attempt: it is recorded after them."""
        self.seen: int | None = None
        self.wakes = self.awaits = False
        """What it knew of its children when it went to wait for them, and whether it wants to know of each."""
        self.settling = False
        """Whether its attempt is over, and is being recorded."""
        self.suspect = False
        """Whether it is run alone, because processes have vanished with it in hand."""

    @property
    def has_relatives(self) -> bool:
        """Whether its end is news to others."""
        return self.family or self.item.row["parent_id"] is not None

    def leaves_doubt(self, outcome: Outcome) -> bool:
        """Whether its next attempt, which has the same number, might do something again."""
        return not outcome.spent and (self.unrecorded > 0 or (self.called and outcome.kind == "interrupted"))

    @property
    def redrives(self) -> int:
        """How often it was begun anew after it had ended."""
        return int(self.item.row["redrives"])

    @property
    def attempts(self) -> int:
        """How many attempts there have been, this one included, redrives or not."""
        return int(self.item.row["attempts"]) + 1

    @property
    def crashes(self) -> int:
        """How many processes in a row have vanished with it in hand."""
        return int(self.item.row["crashes"])

    @property
    def crashes_alone(self) -> int:
        """How many of them ran it alone."""
        return int(self.item.row["crashes_alone"])

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        created: datetime = self.item.row["created_at"]
        return (datetime.now(UTC) - created).total_seconds()
