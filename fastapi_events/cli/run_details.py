"""``jobs show``: one run, as one wants it at three in the morning."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.redaction import Redactor
from fastapi_events.api.run_answers import RunAnswer, run_answer
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.declared import declared_registry
from fastapi_events.cli.history import print_attempts
from fastapi_events.cli.moments import ago, exact
from fastapi_events.cli.runs import COLUMNS, scope_of, took, took_of
from fastapi_events.cli.telling import fail
from fastapi_events.cli.terminal import Column, clean, print_facts, print_json, print_table, say, title

STEP_COLUMNS = (
    Column("STEP", lambda s: s.name, whole=True),
    Column("STATE", lambda s: s.state),
    Column("KIND", lambda s: s.kind),
    Column("TOOK", lambda s: took(s.duration) if s.kind == "step" else None, right=True),
    Column("TRIES", lambda s: s.attempts, right=True),
    Column("AGE", lambda s: ago(s.changed_at), right=True),
    Column("ERROR", lambda s: s.error_type and f"{s.error_type}: {s.error_message}"),
    Column("DUE", lambda s: ago(s.due_at) if s.state == "waiting" else None, wide=True, right=True),
    Column("CALLS", lambda s: s.source, wide=True),
)


async def show_run(events: Any, run_id: UUID, *, show_payload: bool, as_json: bool) -> int:
    """One run with everything around it."""
    async with operators_of(events) as operators:
        found = await operators.observe.run(run_id)
    if found is None:
        fail(
            f"The group {events.group!r} has no run {run_id}, or the transaction that started it has not been "
            "committed. 'fastapi-events jobs list' shows those that there are."
        )
    permissions = {Permission.view, *([Permission.view_payload] if show_payload else [])}
    actor = Actor("cli", permissions=frozenset(permissions), tenants=None)
    run = run_answer(found, declared_registry(events).jobs, Redactor(), actor)
    if as_json:
        print_json(run)
        return 0
    print_facts(_facts(run))
    _print_steps(run)
    _print_attempts(run)
    _print_family(run)
    _print_content(run)
    _say_what_to_do(run)
    return 0


def _facts(run: RunAnswer) -> list[tuple[str, object]]:
    failed = run.error_type and f"{run.error_type}: {run.error_message}"
    return [
        ("run", run.id), ("job", run.job), ("state", run.state), ("why", run.why), ("reason", run.reason),
        ("note", run.note), ("error", failed), ("cause", run.fingerprint), ("being cancelled", run.cancel_reason),
        ("progress", _progress(run)), ("attempts", run.attempts or None), ("redrives", run.redrives or None),
        ("crashes", run.crashes or None), ("pool", run.pool), ("priority", run.priority or None),
        ("started", f"{exact(run.created_at)} ({ago(run.created_at)} ago)"),
        ("by", " ".join(filter(None, (run.source, run.source_ref, run.actor and f"({run.actor})")))),
        ("due", _moment(run.due_at)), ("ended", _ended(run)), ("took", took_of(run)),
        ("scope", scope_of(run)), ("tags", ", ".join(run.tags) or None), ("tenant", run.tenant_id),
        ("correlation", run.correlation_id), ("causation", run.causation_id), ("process", run.worker_id),
        ("tree", run.root_id if run.root_id != run.id else None),
    ]  # fmt: skip


def _moment(moment: Any) -> str | None:
    return None if moment is None else f"{exact(moment)} ({ago(moment)})"


def _ended(run: RunAnswer) -> str | None:
    return None if run.finished_at is None else f"{exact(run.finished_at)} ({ago(run.finished_at)} ago)"


def _progress(run: RunAnswer) -> str | None:
    far = run.progress
    if far is None:
        return None
    share = f" ({far.done / far.total:.0%})" if far.total else ""
    return f"{far.done:g}{f' of {far.total:g}' if far.total is not None else ''}{share}, {ago(far.changed_at)} ago"


def _print_steps(run: RunAnswer) -> None:
    if run.steps:
        title("Steps")
        print_table(STEP_COLUMNS, run.steps, empty="")
        if run.more_steps:
            say(f"There are more; these are the first {len(run.steps)}.")


def _print_attempts(run: RunAnswer) -> None:
    if not run.history:
        return
    title("Attempts")
    print_attempts(run.history)
    last = next((one.traceback for one in reversed(run.history) if one.traceback), None)
    if last:
        title("Traceback of the last attempt")
        say(clean(last, lines=True))


def _print_family(run: RunAnswer) -> None:
    if run.parent is not None:
        title("Started by the run")
        print_table(COLUMNS[:5], [run.parent], empty="")
    if run.children:
        title("Runs that it has started")
        print_table(COLUMNS[:5], run.children, empty="")
        if run.more_children:
            say(f"There are more: fastapi-events jobs list 'parent:{run.id}'")


def _print_content(run: RunAnswer) -> None:
    title("Input")
    if not run.input_visible:
        say("not shown; --show-payload shows it and the results, without their secrets")
        return
    if run.input_text is not None:
        say(clean(run.input_text, lines=True))
    else:
        print_json(run.input)
    if run.state == "completed":
        title("Result")
        if run.result_expired:
            say(f"kept until {exact(run.result_until)}")
        else:
            print_json(run.result)
    for step in run.steps:
        if step.kind == "step" and step.state == "done":
            title(f"Result of {clean(step.name)}")
            print_json(step.result)
    for edit in run.edits:
        title(f"Input until {exact(edit.edited_at)}, replaced by {clean(edit.actor or 'somebody')}")
        print_json(edit.input)
    if run.hidden_secrets:
        say(f"{run.hidden_secrets} secret{'' if run.hidden_secrets == 1 else 's'} hidden")


def _say_what_to_do(run: RunAnswer) -> None:
    say()
    say(f"What it has said: fastapi-events jobs logs {run.id}")
    if run.state in ("failed", "timed_out", "canceled"):
        say()
        say(f"To let it go on where its steps are: fastapi-events jobs retry {run.id}")
    elif run.state in ("pending", "running"):
        say()
        say(f"Its events: fastapi-events events history --correlation {run.correlation_id}")
