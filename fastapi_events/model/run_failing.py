"""What is raised for the result of a run that has none."""

from __future__ import annotations

from uuid import UUID

from fastapi_events.errors import JobCanceled, JobError, JobFailed, JobTimedOut

_ERRORS: dict[str, tuple[type[JobError], str]] = {
    "failed": (JobFailed, "has failed"),
    "timed_out": (JobTimedOut, "has timed out"),
    "canceled": (JobCanceled, "was cancelled"),
}
UNSUCCESSFUL = frozenset(_ERRORS)
NO_REASON = "cancelled"
"""The reason of who gives none."""


def failed_run(run: UUID, job: str, state: str, problem: str | None) -> JobError:
    """The error for a run that ended so; ``problem`` is the type and message of its last error, or why it was ended."""
    kind, what = _ERRORS[state]
    why = f": {problem}" if problem and problem != NO_REASON else "."
    return kind(f"run {run} of {job} {what}{why}", run=run)


def problem_of(error_type: str | None, message: str | None, note: str | None, reason: str | None) -> str | None:
    """Why a run ended: its last error with its type, else what was noted."""
    if message is None:
        return note or reason
    return f"{error_type}: {message}" if error_type else message
