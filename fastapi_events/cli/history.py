"""``events history`` and ``events inspect``: what was published, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.observe import MAX_PAGE
from fastapi_events.api.observe.filters import parse_event_filter
from fastapi_events.api.observe.views import EventPage, EventSummary, HandlerDelivery
from fastapi_events.api.redaction import Redactor
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.known_handlers import check_handler
from fastapi_events.cli.moments import ago, exact
from fastapi_events.cli.telling import PROBLEM, fail
from fastapi_events.cli.terminal import Column, clean, print_facts, print_json, print_table, say, title
from fastapi_events.errors import InvalidFilter


def aggregate_of(event: Any) -> str | None:
    """``order/4711``, as a filter takes it."""
    return event.aggregate and "/".join(filter(None, (event.aggregate, event.aggregate_id)))


COLUMNS = (
    Column("EVENT", lambda e: e.id, whole=True),
    Column("NAME", lambda e: e.name),
    Column("STATUS", lambda e: e.status),
    Column("AGE", lambda e: ago(e.published_at), right=True),
    Column("POSITION", lambda e: e.position, wide=True, right=True),
    Column("AGGREGATE", aggregate_of, wide=True),
    Column("TENANT", lambda e: e.tenant_id, wide=True),
    Column("HANDLERS", lambda e: ", ".join(f"{s.handler} {s.state}" for s in e.handlers), wide=True),
)


async def history(events: Any, where: str, *, before: int | None, limit: int, as_json: bool) -> int:
    """A stretch of history, newest first."""
    wanted = parse_event_filter(where)
    redactor = Redactor()
    for path, _ in wanted.where.payload:
        if redactor.hides(path, wanted.event_name):
            raise InvalidFilter(
                f"payload.{'.'.join(path)}: is a secret by its name, type or mark and cannot be searched. Search "
                "another value, or add --name for events where it is none."
            )
    async with operators_of(events) as operators:
        found: list[EventSummary] = []
        page = await operators.observe.events(wanted, before=before, limit=min(limit, MAX_PAGE))
        first, found = page, list(page.events)
        while page.older is not None and page.searched_to is None and len(found) < limit:
            page = await operators.observe.events(wanted, before=page.older, limit=min(limit - len(found), MAX_PAGE))
            found += page.events
        if not found:
            await check_handler(operators, events, wanted.where.handler)
    whole = EventPage(events=tuple(found), newer=first.newer, older=page.older, searched_to=page.searched_to)
    if as_json:
        print_json(whole)
    else:
        print_table(COLUMNS, found, empty="No event matches.")
        _say_how_to_go_on(whole)
    return 0


def _say_how_to_go_on(page: EventPage) -> None:
    if page.searched_to is not None:
        say(f"The search was stopped for lack of time. Go on with --before {page.searched_to}.")
    elif page.older is not None:
        say(f"There are older ones: --before {page.older}.")


async def inspect(events: Any, event_id: UUID, *, show_payload: bool, as_json: bool) -> int:
    """One event with everything around it."""
    from fastapi_events.api.routes.answers import event_answer

    async with operators_of(events) as operators:
        event = await operators.observe.event(event_id)
    if event is None:
        fail(f"The log of this database has no event {event_id} (any more).", status=PROBLEM)
    permissions = {Permission.view, *([Permission.view_payload] if show_payload else [])}
    answer = event_answer(event, Redactor(), Actor("cli", permissions=frozenset(permissions), tenants=None))
    if as_json:
        print_json(answer)
        return 0
    _print_envelope(answer)
    print_content(answer.model_dump())
    for delivery in answer.deliveries:
        _print_delivery(delivery)
    if not answer.deliveries:
        title("No handler of this group takes it.")
    others = [one for one in answer.conversation if one.id != answer.id]
    if others:
        title("Of the same correlation")
        print_table(COLUMNS[:4], others, empty="")
    return 0


def _print_envelope(event: Any) -> None:
    print_facts(
        (
            ("id", event.id),
            ("name", f"{event.name} (version {event.version})"),
            ("status", event.status),
            ("published", f"{exact(event.published_at)} ({ago(event.published_at)} ago)"),
            ("occurred", exact(event.occurred_at)),
            ("position", f"{event.position} in lane {event.lane}, partition {event.partition}"),
            ("aggregate", aggregate_of(event)),
            ("ordering key", event.key),
            ("tenant", event.tenant_id),
            ("actor", event.actor),
            ("correlation", event.correlation_id),
            ("causation", event.causation_id),
            ("depth", event.depth),
        )
    )


def print_content(answer: Mapping[str, Any]) -> None:
    """Payload and headers, if they may be seen; else how to see them."""
    title("Payload")
    if not answer["payload_visible"]:
        say("not shown; --show-payload shows it, without its secrets")
        return
    if answer["payload_text"] is not None:
        say(clean(answer["payload_text"], lines=True))
    else:
        print_json(answer["payload"])
    for version, payload in answer["other_versions"].items():
        title(f"Payload of version {clean(version)}")
        print_json(payload)
    if answer["headers"]:
        title("Headers")
        print_json(answer["headers"])
    hidden = answer["hidden_secrets"]
    if hidden:
        say(f"{hidden} secret{'' if hidden == 1 else 's'} hidden")


def _print_delivery(delivery: HandlerDelivery) -> None:
    title(f"{clean(delivery.handler)}: {delivery.state}")
    facts = (
        ("starts", delivery.job and f"job {delivery.job}"),
        ("delivery", delivery.delivery_id),
        ("reason", delivery.reason),
        ("note", delivery.note),
        ("attempts", delivery.attempts or None),
        ("redrives", delivery.redrives or None),
        ("crashes", delivery.crashes or None),
        ("due", exact(delivery.due_at)),
        ("done", exact(delivery.done_at)),
        ("cause", delivery.fingerprint),
    )
    print_facts(facts, indent="  ")
    print_attempts(delivery.history)


def print_attempts(history: Any) -> None:
    """The recorded tries, each with what it failed of."""
    for attempt in history:
        failed = f": {attempt.error_type}: {attempt.error_message}" if attempt.error_type else ""
        say(
            f"  attempt {attempt.number}, {exact(attempt.finished_at)}, {attempt.duration:.3f} s, "
            f"{clean(attempt.outcome)}{clean(failed)}"
        )
