"""Checks of the application and its settings; no database is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi_events.cli.declared import declared_events, declared_registry
from fastapi_events.cli.doctor.awaited_events import awaited_names
from fastapi_events.cli.doctor.finding import Finding, fail, ok, some, warn
from fastapi_events.cli.inventory import counted, job_inventory, pools_of
from fastapi_events.engine.jobs.ready_job import compile_jobs
from fastapi_events.errors import EventsError
from fastapi_events.model.names import matches
from fastapi_events.plugin.assembly import make_plan
from fastapi_events.plugin.backoff import retry_of
from fastapi_events.plugin.pool_names import unknown_pools
from fastapi_events.plugin.publishing import PUBLISHERS

_LOCAL = {"", "localhost", "127.0.0.1", "::1"}


def application_findings(events: Any) -> Iterator[Finding]:
    """Handlers, jobs, retention, who may see the dashboard."""
    yield _handlers(events)
    yield from _jobs(events)
    yield _enabled(events)
    yield _dashboard(events)


def _handlers(events: Any) -> Finding:
    try:
        plan, broadcast = make_plan(
            declared_registry(events), events.settings, sessions=events.sessions, sync_sessions=events.sync_sessions
        )
    except EventsError as error:
        return fail("handlers", f"{type(error).__name__}: {error}", "Correct what the message names.")
    number = len(plan.handlers) + len(broadcast)
    return ok("handlers", f"{counted(number, 'handler')}; marks outlive every retry schedule")


def _jobs(events: Any) -> Iterator[Finding]:
    """What is wrong with jobs themselves, and with the pools that settings name; nothing where there is no job."""
    settings, registry = events.settings, declared_registry(events)
    if not registry.jobs:
        return
    try:
        compile_jobs(registry, given=PUBLISHERS, retry=retry_of(settings), timeout=settings.job_timeout, keep_result=1)
    except EventsError as error:
        yield fail("jobs", f"{type(error).__name__}: {error}", "Correct what the message names.")
        return
    if problems := [*unknown_pools(settings, registry.jobs.values())]:
        yield warn("jobs", " ".join(problems), "Correct the setting, or declare jobs with pool='…'.")
    else:
        yield ok("jobs", job_inventory(registry, pools_of(settings, registry)))


def unhandled_finding(events: Any, selections: Sequence[str]) -> Finding:
    """Events that nobody takes: no handler here, no job that waits for them, and none of the ``selections`` of all
    groups in the database."""
    alone = {d.options.name for d in declared_events(events) if not d.handlers and d.options.tier != "audit"}
    alone -= awaited_names(declared_registry(events).jobs.values())
    unhandled = sorted(name for name in alone if not any(matches(selects, name) for selects in selections))
    if unhandled:
        return warn(
            "unhandled events", f"Declared, and no handler of any group takes them: {some(unhandled)}.",
            "Include the module that handles them in Events(modules=[…]). All is well if a job waits for them by "
            "wait_for(), out of sight of this check. If they are only kept, and no job waits: declare tier='audit'.",
        )  # fmt: skip
    return ok("unhandled events", "every declared event has a handler, a trigger or a job that waits for it")


def _enabled(events: Any) -> Finding:
    if not events.settings.enabled:
        return warn(
            "enabled", "EVENTS_ENABLED is false: events are stored, and processes with this setting handle none.",
            "Unset it where events shall be handled.",
        )  # fmt: skip
    return ok("enabled", "events are handled")


def _dashboard(events: Any) -> Finding:
    settings = events.settings
    if events.authorize is not None:
        return ok("dashboard", "open to those whom authorize lets in")
    if settings.development and not _is_local(settings.database_url or _bound(events)):
        return fail(
            "dashboard", "EVENTS_DEV is set and the database is on another machine: whoever reaches the app may see "
            "and change everything.", "Unset EVENTS_DEV, and give Events(authorize=…).",
        )  # fmt: skip
    if settings.development:
        return warn(
            "dashboard", "EVENTS_DEV is set: the dashboard is open to whoever reaches the app.",
            "Fine on your own machine; unset it anywhere else.",
        )  # fmt: skip
    return ok("dashboard", "closed to everybody, as Events(authorize=…) is not given")


def _bound(events: Any) -> str | None:
    from fastapi_events.plugin.locating import bind_url

    return bind_url(events.sessions) or bind_url(events.sync_sessions)


def _is_local(url: str | None) -> bool:
    if url in (None, "embedded"):
        return True
    host = urlsplit(str(url)).hostname or ""
    return host in _LOCAL
