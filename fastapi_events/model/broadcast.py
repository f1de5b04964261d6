"""Broadcast handlers, and the audit events that only they take: what contradicts them, checked where it is written."""

from __future__ import annotations

from typing import Any

from fastapi_events.errors import AuditEventTriggerError, ContradictoryOptions
from fastapi_events.model.event import Event, options_of


def check_broadcast(
    owner: str, *, broadcast: Any, audit: Any, retry: Any, idempotency_key: Any, on_dead: Any, was: Any,
    breaker: Any,
) -> None:  # fmt: skip
    """Raise ``ContradictoryOptions`` for options that a broadcast handler cannot have, or that only one can."""
    for name, value in (("broadcast", broadcast), ("audit", audit)):
        if not isinstance(value, bool):
            raise ContradictoryOptions(f"{owner}: {name}={ascii(value)[:80]} is neither True nor False.")
    if audit and not broadcast:
        raise ContradictoryOptions(
            f"{owner}: audit=True without broadcast=True. Audit events start no durable work: add broadcast=True, or "
            "leave audit=True out."
        )
    if not broadcast:
        return
    for name, given, why in (
        ("retry", retry is not None, "it is called once for an event"),
        ("idempotency_key", idempotency_key is not None, "nothing is recorded of it"),
        ("on_dead", on_dead != "park", "it has no dead letters"),
        ("breaker", breaker is not None, "nothing of it is put off"),
        ("was", bool(was), "it has no state that could follow a rename"),
    ):
        if given:
            raise ContradictoryOptions(
                f"{owner}: {name}= does not go with broadcast=True: a broadcast handler runs in every process, at most "
                f"once, and {why}. Leave {name}= out, or broadcast=True."
            )


_HEARD = (
    "Add broadcast=True, to have it heard in every process while it lives, or declare the class with tier='domain'."
)
NEVER_HEARD = "Declare the class with tier='domain'."
"""The mend where nothing can be a broadcast."""


def check_trigger(event_class: type[Event], *, owner: str, mend: str = _HEARD) -> None:
    """Raise ``AuditEventTriggerError`` if the class is an audit event; ``owner`` is the durable work it would start."""
    options = options_of(event_class)
    if options is not None and options.tier == "audit":
        raise audit_trigger(owner, event_class.__qualname__, mend=mend)


def audit_trigger(owner: str, event: str, *, mend: str = _HEARD) -> AuditEventTriggerError:
    """The error that says why an audit event starts nothing durable, and what to write instead."""
    return AuditEventTriggerError(
        f"{owner}: {event} is an audit event (tier='audit'), which is stored and shown and starts no durable work. "
        f"{mend}"
    )
