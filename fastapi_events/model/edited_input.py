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
    frees_window: bool
    """Whether the run stands for starts with its former input no more, although the time for that is not over."""
    asked: RunLimits | None
    """What is asked of its limits when it begins anew; a key that it has still is not taken again."""


def edited_input(job: Job[Any, Any], value: Any, text: str, before: str, scope: Scope) -> EditedInput:
    """What follows from another input, ``value``, stored as ``text``; ``before`` is the input that it replaces.

    A scope that followed from the former input follows from the new one; one that was given with the start stays. Raises
    ``InvalidInput`` for keys and scopes that cannot be ones.
    """
    limits = limits_of(job, value, text)
    former = _former(job, before)
    follows = former is None or job.scope is None or job.scope_of(former[0]) == scope
    new_scope = job.scope_of(value) if job.scope is not None and follows else scope
    kept = job.dedupe is not None and job.dedupe.window is not None and former is not None
    kept = kept and limits is not None and job.dedupe_key(former[0], before) == limits.dedupe_key if former else False
    if limits is None:
        return EditedInput(text, new_scope, None, frees_window=not kept, asked=None)
    asked = replace(limits, unattended=True, dedupe_key=None if kept else limits.dedupe_key)
    if limits.exclusive:
        asked.on_collision = "reject"  # one that begins anew takes nobody's place
    return EditedInput(text, new_scope, limits, frees_window=not kept, asked=asked if asked.asks else None)


def _former(job: Job[Any, Any], text: str) -> tuple[Any] | None:
    """The former input; None if the job does not take it any more, which may be why there is another one."""
    try:
        return (job.load_input(text),)
    except InvalidInput:
        return None
