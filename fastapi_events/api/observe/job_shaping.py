"""From rows to what readings of jobs return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi_events.api.observe.job_views import JobView, RunProgress, RunStep, RunSummary
from fastapi_events.api.observe.shaping import view_of

_NO_COUNTS = dict.fromkeys(("processes", "ready", "waiting", "running", "failed", "completed", "dead", "oldest_ready"))


def job_view(row: Any, counts: Any | None) -> JobView:
    """A job with its load; without counts it is that of people who may not see the fleet."""
    load = _NO_COUNTS if counts is None else {name: counts[name] for name in _NO_COUNTS if name != "processes"}
    return view_of(JobView, row, group=row["group_name"], **load)


def run_fields(row: Any) -> dict[str, Any]:
    """What a summary has that is no column."""
    return {"group": row["group_name"], "tags": tuple(row["tags"] or ())}


def run_summary(row: Any) -> RunSummary:
    """A run of a list."""
    return view_of(RunSummary, row, **run_fields(row))


def progress_of(content: Any) -> RunProgress | None:
    """How far a run says that it is; None if it says nothing."""
    if content["progress_at"] is None:
        return None
    return RunProgress(
        done=content["progress_done"], total=content["progress_total"], changed_at=content["progress_at"]
    )


def why_not_running(
    row: Any, processes: int, steps: Sequence[RunStep] = (), attempts: Sequence[Any] = ()
) -> str | None:  # fmt: skip
    """Why a run is not being run; None if it is, or has ended.

    ``processes`` are those live ones that run its job, ``steps`` those of the run, which may wait for something,
    ``attempts`` the recorded ones. Of their errors the type alone is told: a message may quote what is secret.
    """
    if row["state"] != "pending":
        return None
    reasons = ["; ".join(filter(None, map(awaited, steps))) or _own_reason(row, attempts)]
    if row["paused"]:
        reasons.append(f"{row['job']} is paused")
    if not processes:
        reasons.append(f"no live process runs {row['job']} (pool {row['pool']})")
    return "; ".join(reason for reason in reasons if reason) or "it is ready, and waits for a free place in its pool"


def awaited(step: RunStep) -> str | None:
    """What a run waits for by this step; None if it does not wait."""
    if step.state != "waiting":
        return None
    until = f" until {_moment(step.due_at)}" if step.due_at is not None else ""
    if step.kind == "sleep":
        return f"it sleeps{until}"
    # What is recorded of a wait for one key says which.
    key = f" of key {step.key}" if step.key is not None and " of " not in (step.source or "") else ""
    return f"it waits for {'the signal' if step.kind == 'signal' else 'the event'} {step.source}{key}{until}"


def _own_reason(row: Any, attempts: Sequence[Any]) -> str | None:
    if row["due_at"] is not None:
        when = _moment(row["due_at"])
        return f"it is put off until {when}" + _after(row["attempts"], attempts)
    if row["queued"] == "w":
        return "it waits for the runs that it has spawned"
    if row["queued"] != "r":
        return "it waits for its turn by a limit of its job"
    if row["crashes"]:
        count = row["crashes"]
        return f"{count} process{'' if count == 1 else 'es'} ended while running it, and such runs go one at a time"
    return None


def _after(number: int | None, recorded: Sequence[Any]) -> str:
    if not number:
        return ""
    last = max(recorded, key=lambda one: one["finished_at"], default=None)
    error = f" ({last['error_type']})" if last is not None and last["error_type"] else ""
    return f", after {number} attempt{'' if number == 1 else 's'}{error}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
