"""What a schedule starts: runs as any others, whose ids follow from their ticks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.model.identity import scheduled_run_id
from fastapi_events.model.run_limits import RunLimits
from fastapi_events.model.run_start import RunStart

_KEPT = ("limit_key", "slots", "on_collision", "rate_key", "dedupe_key", "window", "until_started")


def kept_limits(limits: RunLimits | None) -> dict[str, Any] | None:
    """As the schedule keeps what bounds its runs: whoever ticks it may lack the function that makes the keys."""
    if limits is None:
        return None
    given = asdict(limits)
    return {name: given[name] for name in _KEPT}


def start_of_tick(row: Any, moment: datetime) -> RunStart:
    """The run of one tick. Nobody hears an error: what its limits refuse is noted."""
    return _start(row, scheduled_run_id(row["id"], moment), unattended=True)._replace(
        source="schedule", schedule_id=row["id"], scheduled_for=moment
    )


def start_beside(row: Any, run_id: UUID, actor: str) -> RunStart:
    """A run beside the ticks, for whoever asks for it."""
    return _start(row, run_id, unattended=False)._replace(actor=actor)


def refusals(starts: Iterable[RunStart]) -> list[str]:
    """Why there are no runs of those that limits have refused."""
    return [one.limits.told for one in starts if one.limits is not None and one.limits.refusal is not None]


def _start(row: Any, run_id: UUID, *, unattended: bool) -> RunStart:
    kept = row["limits"]
    return RunStart(
        run_id, row["job_id"], row["name"], row["input"], run_id, row["priority"], source_ref=row["name"],
        scope=row["scope"], scope_id=row["scope_id"],
        limits=None if kept is None else RunLimits(**json.loads(kept), unattended=unattended),
    )  # fmt: skip
