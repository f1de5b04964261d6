"""Replays from the command line: counted, asked about, started, shown and changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fastapi_events.api.replay_filter import ReplayFilter, moment_of
from fastapi_events.api.replay_views import ReplayPreview, ReplayView
from fastapi_events.cli.asking import agreed
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.known_handlers import check_handler
from fastapi_events.cli.moments import ago, exact, span
from fastapi_events.cli.terminal import Column, clean, note, print_facts, print_json, print_table, say

Act = Literal["pause", "resume", "cancel"]
_LIVE_THEN: dict[Act, str] = {
    "pause": " What is live of it waits as long, if it is ordered.",
    "resume": "",
    "cancel": " The handler goes on with what is live, without the rest of its history.",
}
"""What becomes of a handler that is new and begins with the replay."""

COLUMNS = (
    Column("ID", lambda r: r.id, whole=True),
    Column("HANDLER", lambda r: r.handler),
    Column("STATE", lambda r: "held" if r.held else r.state),
    Column("DONE", lambda r: f"{r.share:.0%}", right=True),
    Column("EVENTS", lambda r: r.total, right=True),
    Column("WAITING", lambda r: r.waiting, wide=True, right=True),
    Column("DEAD", lambda r: r.dead, right=True),
    Column("STARTED", lambda r: ago(r.created_at), right=True),
    Column("BY", lambda r: r.created_by, wide=True),
)


@dataclass(frozen=True, slots=True)
class ReplayDone:
    """What became of a change: nothing ``changed`` if it was so already."""

    act: Act
    replay: str
    changed: bool


def filters(
    low: int | None, high: int | None, since: str | None, until: str | None, names: Sequence[str] | None,
    aggregate: str | None, key: str | None, tenant: str | None, correlation: str | None,
) -> ReplayFilter:  # fmt: skip
    """The filters from options; times are understood as everywhere on the command line. Raises ``InvalidFilter``."""
    kind, _, number = (aggregate or "").partition("/")
    return ReplayFilter(
        from_position=low, to_position=high, since=moment_of("since", since), until=moment_of("until", until),
        events=names or (), aggregate=kind or None, aggregate_id=number or None, key=key, tenant_id=tenant,
        correlation_id=correlation,
    )  # fmt: skip


async def preview_replay(events: Any, handler: str, where: ReplayFilter, *, rate: float | None, as_json: bool) -> int:
    """Count."""
    async with operators_of(events) as operators:
        preview = await operators.operations.replays.preview(handler, rate=rate, **where)
    if as_json:
        print_json(preview)
    else:
        _tell_preview(preview)
    return 0


async def start_replay(
    events: Any, handler: str, where: ReplayFilter, *, rate: float | None, actor: str, reason: str, yes: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Count, ask, and start."""
    async with operators_of(events) as operators:
        replays = operators.operations.replays
        preview = await replays.preview(handler, rate=rate, **where)
        if not as_json:
            _tell_preview(preview)
        if preview.count and not agreed(f"Give {preview.count:,} events to {preview.handler} again?", yes=yes):
            return 1
        view = await replays.start(handler, rate=rate, expected=preview.count, actor=actor, reason=reason, **where)
    if as_json:
        print_json(view)
    else:
        say(clean(f"Replay {view.id} has started. Look at it with: fastapi-events replay show {view.id}"))
    return 0


async def list_replays(events: Any, *, handler: str | None, limit: int, as_json: bool) -> int:
    """The newest replays."""
    async with operators_of(events) as operators:
        found = await operators.operations.replays.list(handler=handler, limit=limit)
        if not found:
            await check_handler(operators, events, handler)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, found, empty=f"The group {events.group!r} has had no replay.")
    return 0


async def show_replay(events: Any, replay_id: str, *, as_json: bool) -> int:
    """One replay."""
    async with operators_of(events) as operators:
        view = await operators.operations.replays.get(replay_id)
    if as_json:
        print_json(view)
    else:
        print_facts(_facts(view))
    return 0


async def change_replay(
    events: Any, replay_id: str, act: Act, *, actor: str, reason: str, yes: bool, as_json: bool
) -> int:
    """Pause, resume or cancel."""
    async with operators_of(events) as operators:
        replays = operators.operations.replays
        view = await replays.get(replay_id)
        live = _LIVE_THEN[act] if view.starts and not view.ended else ""
        question = f"Cancel the replay of {view.handler}? What waits of it is discarded; it cannot be resumed.{live}"
        if act == "cancel" and not agreed(question, yes=yes):
            return 1
        change = {"pause": replays.pause, "resume": replays.resume, "cancel": replays.cancel}[act]
        changed = await change(view.id, actor=actor, reason=reason)
    if as_json:
        print_json(ReplayDone(act, str(view.id), changed))
    else:
        done = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}[act]
        said = (
            f"The replay of {view.handler} is {done}.{live}" if changed else f"Nothing was changed: it is {view.state}."
        )
        say(clean(said))
    return 0


def _tell_preview(preview: ReplayPreview) -> None:
    facts: list[tuple[str, object]] = [
        ("handler", preview.handler),
        ("events", f"{preview.count:,}{'+' if preview.capped else ''}"),
        ("first", _place(preview.first_position, preview.first_at)),
        ("last", _place(preview.last_position, preview.last_at)),
        ("takes", None if preview.seconds is None else f"{span(preview.seconds)} at this rate"),
    ]
    print_facts(facts)
    for warning in preview.warnings:
        note(warning)


def _place(position: int | None, moment: datetime | None) -> str | None:
    return None if position is None else f"position {position}, {exact(moment)}"


def _facts(view: ReplayView) -> list[tuple[str, object]]:
    names = ", ".join(view.names) if view.names else view.selects
    return [
        ("id", view.id), ("handler", view.handler), ("state", "held" if view.held else view.state), ("note", view.note),
        ("progress", f"{view.share:.1%} of {'the positions' if view.total is None else format(view.total, ',')}"),
        ("done", view.done), ("failed", view.failed),
        ("skipped", view.skipped), ("waiting", view.waiting), ("dead", view.dead), ("rate", view.rate),
        ("positions", f"{view.from_position} to {view.to_position}"), ("names", names), ("aggregate", view.aggregate),
        ("aggregate id", view.aggregate_id), ("key", view.key),
        ("tenants", ", ".join(view.tenants) if view.tenants is not None else None),
        ("correlation", view.correlation_id), ("since", exact(view.since)), ("until", exact(view.until)),
        ("processes", view.processes), ("started", exact(view.created_at)), ("by", view.created_by),
        ("reason", view.reason or None), ("finished", exact(view.finished_at)),
    ]  # fmt: skip
