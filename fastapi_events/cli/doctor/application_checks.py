"""Checks of the application and its settings; no database is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi_events.cli.declared import declared_events, declared_registry
from fastapi_events.cli.doctor.finding import Finding, fail, ok, some, warn
from fastapi_events.errors import EventsError
from fastapi_events.model.names import matches
from fastapi_events.plugin.assembly import make_plan

_LOCAL = {"", "localhost", "127.0.0.1", "::1"}


def application_findings(events: Any) -> Iterator[Finding]:
    """Handlers, retention, who may see the dashboard."""
    yield _handlers(events)
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
    return ok("handlers", f"{number} handler{'' if number == 1 else 's'}; marks outlive every retry schedule")


def unhandled_finding(events: Any, selections: Sequence[str]) -> Finding:
    """Events that nobody takes: no handler here, and none of the ``selections`` of all groups in the database."""
    alone = {d.options.name for d in declared_events(events) if not d.handlers and d.options.tier != "audit"}
    unhandled = sorted(name for name in alone if not any(matches(selects, name) for selects in selections))
    if unhandled:
        return warn(
            "unhandled events", f"Declared, and no handler of any group takes them: {some(unhandled)}.",
            "Include the module that handles them in Events(modules=[…]); declare tier='audit' for what is only kept.",
        )  # fmt: skip
    return ok("unhandled events", "every declared event has a handler")


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
