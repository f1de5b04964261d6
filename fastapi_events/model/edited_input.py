"""Another input for a run, and what follows from it: what the run belongs to, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fastapi_events.errors import InvalidInput
from fastapi_events.model.job import Job
from fastapi_events.model.run_limits import RunLimits, limits_of

Scope = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class EditedInput:
    """What a run is given in place of what it was."""

    text: str
    scope: Scope
    limits: RunLimits | None
    freed_key: str | None
    """By what the run stands for starts with its former input no more, although the time for that is not over."""
    asked: RunLimits | None
    """What is asked of its limits when it begins anew; a key that it has still is not taken again."""


def edited_input(
    job: Job[Any, Any],
    value: Any,
    text: str,
    before: str,
    scope: Scope,
    window_key: str | None,
    *,
    tenant: str | None,
) -> EditedInput:
    """What follows from another input, ``value``, stored as ``text``; ``before`` is the input that it replaces.

    ``scope``, ``tenant`` and ``window_key``, by which it stands for starts until a time is over, are what the run has.

    A scope that followed from the former input follows from the new one; one that was given with the start stays.
    Raises ``InvalidInput`` for keys and scopes that cannot be ones.
    """
    limits = limits_of(job, value, text, tenant)
    if job.scope is not None and _follows(job, before, scope):
        scope = job.scope_of(value)
    if limits is None:
        return EditedInput(text, scope, None, window_key, asked=None)
    # A window runs from the start: where the key is the same, that start still stands for others.
    stands = limits.window is not None and window_key == limits.dedupe_key
    asked = replace(limits, unattended=True, dedupe_key=None if stands else limits.dedupe_key)
    if asked.exclusive:
        asked.on_collision = "reject"  # one that begins anew takes nobody's place
    return EditedInput(text, scope, limits, None if stands else window_key, asked if asked.asks else None)


def _follows(job: Job[Any, Any], before: str, scope: Scope) -> bool:
    """Whether the scope is that of the former input, which the job may not take any more."""
    try:
        return job.scope_of(job.load_input(before)) == scope
    except InvalidInput:
        return True
