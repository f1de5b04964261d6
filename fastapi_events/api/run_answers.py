"""Runs as people are shown them: their content opened up, and without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.observe.job_views import (
    RunAttempt,
    RunDetail,
    RunPage,
    RunProgress,
    RunSignal,
    RunStep,
    RunSummary,
)
from fastapi_events.api.observe.run_log import LogPlace, RunLogLine, RunLogPage
from fastapi_events.api.observe.view import View
from fastapi_events.api.redaction import Redactor, Shown, redacted_text, without_secrets
from fastapi_events.model.event import declared_classes
from fastapi_events.model.job import Job
from fastapi_events.model.secrets import HIDDEN, Place, place_in, secret_values, without_values

_QUOTING = frozenset({"error_message", "traceback", "note", "cancel_reason"})
V = TypeVar("V", bound=View)


class StepAnswer(RunStep):
    """A step; its ``result`` is null without the permission ``view_payload``."""

    result: Any


class EditAnswer(View):
    """An input that somebody has replaced."""

    action_id: UUID
    actor: str | None
    edited_at: datetime
    input: Any


class RunAnswer(RunSummary):
    """One run. ``input`` and every result are null, and ``input_visible`` false, without the permission
    ``view_payload``.

    ``hidden_secrets`` counts values that are shown to nobody. ``input_text`` is the beginning of an input that cannot
    be read as JSON. A number that a float cannot hold exactly is a string.
    """

    input_visible: bool
    input: Any
    input_text: str | None
    result: Any
    result_expired: bool
    result_until: datetime | None
    hidden_secrets: int
    why: str | None
    crashes: int
    cancel_reason: str | None
    source_ref: str | None
    causation_id: UUID | None
    event_id: UUID | None
    trigger: str | None
    schedule_id: int | None
    schedule: str | None
    scheduled_for: datetime | None
    traceparent: str | None
    depth: int
    progress: RunProgress | None
    steps: tuple[StepAnswer, ...]
    more_steps: bool
    signals: tuple[RunSignal, ...]
    history: tuple[RunAttempt, ...]
    edits: tuple[EditAnswer, ...]
    parent: RunSummary | None
    children: tuple[RunSummary, ...]
    more_children: bool


def run_answer(run: RunDetail, jobs: Mapping[str, Job[Any, Any]], redactor: Redactor, actor: Actor) -> RunAnswer:
    """A run as this actor may see it; ``jobs`` tell what of it is secret, beside what is by its name."""
    job = jobs.get(run.job)
    takes: Place = place_in(job.input_type) if job is not None else ()
    gives: Place = place_in(job.output_type) if job is not None else ()
    visible, counted = actor.may(Permission.view_payload), _Counted(redactor)
    values = sorted({value for text in _inputs(run) for value in secret_values(text, takes)}, key=len, reverse=True)
    given = counted.shown(run.input, takes)
    result = counted.shown(run.result, gives)
    steps = [step.model_dump() | {"result": counted.shown(step.result, _place_of(step)).value} for step in run.steps]
    edits = [edit.model_dump() | {"input": counted.shown(edit.input, takes).value} for edit in run.edits]
    fit = without_secrets(run)
    fields = _quoting_none(fit, values).model_dump(exclude={"input", "result", "steps", "edits", "history"})
    fields["history"] = tuple(_quoting_none(attempt, values) for attempt in fit.history)
    for step, original in zip(steps, run.steps, strict=True):
        step["error_message"] = _quoting_none(without_secrets(original), values).error_message
    return RunAnswer.model_validate(
        fields
        | {
            "input_visible": visible,
            "input": given.value if visible else None,
            "input_text": given.text if visible else None,
            "result": result.value if visible else None,
            "steps": [step if visible else step | {"result": None} for step in steps],
            "edits": [edit if visible else edit | {"input": None} for edit in edits],
            "hidden_secrets": counted.hidden,
        }
    )


class LogLineAnswer(RunLogLine):
    """A line; its ``fields`` are null without the permission ``view_payload``."""

    fields: Any


class RunLogAnswer(LogPlace):
    """Lines of a run, in their order."""

    lines: tuple[LogLineAnswer, ...]


def run_log_answer(page: RunLogPage, redactor: Redactor, actor: Actor) -> RunLogAnswer:
    """What a run has said, as this actor may see it."""
    visible = actor.may(Permission.view_payload)
    lines = [
        line.model_dump()
        | {
            "message": redacted_text(line.message),
            "traceback": None if line.traceback is None else redacted_text(line.traceback),
            "fields": redactor.content(line.fields, ()).value if visible and line.fields is not None else None,
        }
        for line in page.lines
    ]
    return RunLogAnswer.model_validate(page.model_dump(exclude={"lines"}) | {"lines": lines})


def run_page_answer(page: RunPage) -> RunPage:
    """A page of runs, fit to be shown."""
    return without_secrets(page)


def _place_of(step: RunStep) -> Place:
    """What is secret in a step's result: the process that shows it may not have the function in its code."""
    if step.kind == "event":
        return tuple(declared_classes(step.source or ""))
    return True if step.secret else ()


class _Counted:
    """Shows content, and counts what is hidden in it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor, self.hidden = redactor, 0

    def shown(self, text: str | None, place: Place) -> Shown:
        if text is None:
            return Shown()
        if place is True:
            self.hidden += 1
            return Shown(HIDDEN)
        found = self._redactor.content(text, place)
        self.hidden += found.hidden
        return found


def _inputs(run: RunDetail) -> list[str]:
    return [run.input, *(edit.input for edit in run.edits)]


def _quoting_none(view: V, values: list[str]) -> V:
    """The view with these values hidden wherever an error quotes them."""
    changes: dict[str, Any] = {}
    for name in type(view).model_fields if values else ():
        value = getattr(view, name)
        if isinstance(value, str) and name in _QUOTING:
            changes[name] = without_values(value, values)
    return view.model_copy(update=changes)
