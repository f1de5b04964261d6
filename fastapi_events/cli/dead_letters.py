"""``dlq list``, ``groups`` and ``show``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi_events.api.observe import MAX_PAGE
from fastapi_events.api.observe.filters import parse_dead_letter_filter
from fastapi_events.api.observe.views import DeadLetterPage, DeliveryDetail
from fastapi_events.api.redaction import Redactor, without_secrets
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.history import print_attempts, print_content
from fastapi_events.cli.known_handlers import check_handler
from fastapi_events.cli.moments import ago, exact
from fastapi_events.cli.telling import fail
from fastapi_events.cli.terminal import Column, clean, print_facts, print_json, print_table, say, title

COLUMNS = (
    Column("DELIVERY", lambda d: d.id, whole=True),
    Column("HANDLER", lambda d: d.handler),
    Column("ERROR", lambda d: d.error_type or d.reason),
    Column("DIED", lambda d: ago(d.died_at), right=True),
    Column("EVENT", lambda d: d.event_name, wide=True),
    Column("ATTEMPTS", lambda d: d.attempts, wide=True, right=True),
    Column("BEHIND", lambda d: d.behind, wide=True, right=True),
    Column("MESSAGE", lambda d: d.error_message, wide=True),
)
GROUP_COLUMNS = (
    Column("CAUSE", lambda g: g.fingerprint, whole=True),
    Column("DEAD", lambda g: g.dead, right=True),
    Column("HANDLER", lambda g: g.handler),
    Column("ERROR", lambda g: g.error_type or g.reason),
    Column("LAST", lambda g: ago(g.last_at), right=True),
    Column("FIRST", lambda g: ago(g.first_at), wide=True, right=True),
    Column("EVENT", lambda g: g.event_name if g.event_names == 1 else f"{g.event_names} kinds", wide=True),
    Column("MESSAGE", lambda g: g.error_message, wide=True),
)


async def list_dead_letters(events: Any, where: str, *, cursor: str | None, limit: int, as_json: bool) -> int:
    """Dead letters, newest first."""
    wanted = parse_dead_letter_filter(where)
    async with operators_of(events) as operators:
        page = await operators.observe.dead_letters(wanted, cursor=cursor, limit=min(limit, MAX_PAGE))
        first, found = page, list(page.dead_letters)
        while page.older is not None and len(found) < limit:
            size = min(limit - len(found), MAX_PAGE)
            page = await operators.observe.dead_letters(wanted, cursor=page.older, limit=size)
            found += page.dead_letters
        if not found:
            await check_handler(operators, events, wanted.handler)
        dead_runs = 0 if where.strip() else (await operators.observe.job_signs()).dead
    whole = without_secrets(
        DeadLetterPage(
            dead_letters=tuple(found), older=page.older, matching=first.matching, capped=first.capped,
            cut_off=first.cut_off,
        )
    )  # fmt: skip
    if as_json:
        print_json(whole)
        return 0
    print_table(COLUMNS, whole.dead_letters, empty="No dead letter matches.")
    if whole.older is not None:
        number = f"{whole.matching:,}{' or more' if whole.capped else ''}"
        say(f"{number} match. There are older ones: --cursor {whole.older}")
    _say_dead_runs(dead_runs)
    return 0


def _say_dead_runs(number: int) -> None:
    """Runs are no deliveries: they have a list of their own."""
    if number:
        say(f"Dead runs of jobs: {number:,}. See 'fastapi-events jobs list --state dead'.")


async def list_groups(events: Any, *, limit: int, as_json: bool) -> int:
    """Dead letters by handler and cause."""
    async with operators_of(events) as operators:
        found = [without_secrets(group) for group in (await operators.observe.dead_letter_groups())[:limit]]
        dead_runs = (await operators.observe.job_signs()).dead
    if as_json:
        print_json(found)
    else:
        print_table(GROUP_COLUMNS, found, empty="There is no dead letter.")
        _say_dead_runs(dead_runs)
    return 0


async def show_dead_letter(events: Any, delivery_id: UUID, *, show_payload: bool, as_json: bool) -> int:
    """One delivery with its attempts, and the event's content as it was kept."""
    async with operators_of(events) as operators:
        found = await operators.observe.delivery(delivery_id)
    if found is None:
        fail(
            f"The group {events.group!r} has no delivery {delivery_id}. If that is an event's id: 'fastapi-events "
            "events inspect' shows its deliveries."
        )
    delivery = without_secrets(found)
    redactor = Redactor()
    shown = redactor.payload(found.event_name, found.payload or "null")
    headers = redactor.headers(found.headers)
    others = redactor.other_versions(found.event_name, found.other_versions)
    facts = delivery.model_dump(exclude={"payload", "other_versions", "headers"}) | {
        "payload_visible": show_payload,
        "payload": shown.value if show_payload else None,
        "payload_text": shown.text if show_payload else None,
        "other_versions": {version: other.value for version, other in others.items()} if show_payload else {},
        "headers": headers.value if show_payload else None,
        "hidden_secrets": shown.hidden + headers.hidden + sum(other.hidden for other in others.values()),
    }
    if as_json:
        print_json(facts)
    else:
        _print(delivery, facts)
    return 0


def _print(delivery: DeliveryDetail, facts: dict[str, Any]) -> None:
    print_facts(
        (
            ("delivery", delivery.id),
            ("state", delivery.state),
            ("handler", delivery.handler),
            ("event", f"{delivery.event_name} {delivery.event_id}"),
            ("reason", delivery.reason),
            ("note", delivery.note),
            ("error", delivery.error_type and f"{delivery.error_type}: {delivery.error_message}"),
            ("cause", delivery.fingerprint),
            ("attempts", delivery.attempts),
            ("redrives", delivery.redrives or None),
            ("crashes", delivery.crashes or None),
            ("ordering key", delivery.key),
            ("behind", f"{delivery.behind:,} wait for it" if delivery.behind else None),
            ("tenant", delivery.tenant_id),
            ("published", exact(delivery.published_at)),
            ("changed", f"{exact(delivery.changed_at)} ({ago(delivery.changed_at)} ago)"),
            ("due", exact(delivery.due_at)),
        )
    )
    if delivery.history:
        title("Attempts")
        print_attempts(delivery.history)
    last = next((attempt.traceback for attempt in reversed(delivery.history) if attempt.traceback), None)
    if last:
        title("Traceback of the last attempt")
        say(clean(last, lines=True))
    print_content(facts)
