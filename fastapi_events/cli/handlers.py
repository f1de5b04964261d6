"""``handlers list`` and ``handlers retire``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi_events.api.handler_actions import Retired
from fastapi_events.api.observe.fleet_views import HandlerView
from fastapi_events.cli.asking import agreed
from fastapi_events.cli.broadcasts import BROADCAST_COLUMNS, list_broadcasts
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.declared import declared_registry, shortened
from fastapi_events.cli.moments import ago, exact, span
from fastapi_events.cli.terminal import Column, clean, print_json, print_table, say, title
from fastapi_events.model.module import HandlerDeclaration
from fastapi_events.plugin.operating import Operators


class ListedHandler(HandlerView):
    """A handler with what this application and the clock add: ``where`` it is declared here, and its ``lag``.

    ``lag`` is the age in seconds of the oldest event that waits for it as a delivery of its own.
    """

    where: str | None
    lag: float | None


def _status(handler: HandlerView) -> str:
    """Whether somebody has it, and whether it is called."""
    stops = [
        ("catching up", handler.catching_up_since), ("breaker open", handler.breaker_opened_at),
        ("paused", handler.paused_at),
    ]  # fmt: skip
    return ", ".join([handler.status, *(word for word, since in stops if since is not None)])


COLUMNS = (
    Column("HANDLER", lambda h: h.name, whole=True),
    Column("STATUS", _status),
    Column("LIVE", lambda h: h.processes, right=True),
    Column("WAITING", lambda h: h.waiting, right=True),
    Column("DEAD", lambda h: h.dead, right=True),
    Column("LAG", lambda h: None if h.lag is None else span(h.lag), right=True),
    Column("SELECTS", lambda h: h.selects, wide=True),
    Column("ORDERED", lambda h: "yes" if h.ordered else "no", wide=True),
    Column("ON DEAD", lambda h: h.on_dead, wide=True),
    Column("SEEN", lambda h: ago(h.last_seen_at), wide=True, right=True),
    Column("WHERE", lambda h: h.where and shortened(h.where), wide=True),
)


JOB = Column("STARTS", lambda h: h.job, whole=True)
"""The job of a trigger."""


async def list_handlers(events: Any, *, limit: int, as_json: bool) -> int:
    """The group's handlers, and apart from them the broadcast handlers, which no group knows."""
    async with operators_of(events) as operators:
        found = await operators.observe.handlers()
        live = await operators.observe.broadcasts()
        age = await operators.observe.oldest_pending_age()
        paused = [lane for one in await operators.observe.groups() if one.name == events.group
                  for lane in one.paused_lanes]  # fmt: skip
    registry = declared_registry(events)
    every = {**registry.handlers, **registry.triggers}
    declared = {name: handler for name, handler in every.items() if not handler.broadcast}
    listed = [_listed(view, declared.get(view.name)) for view in found[:limit]]
    broadcasts = list_broadcasts(live, [handler for handler in every.values() if handler.broadcast])[:limit]
    if as_json:
        print_json({"handlers": listed, "broadcasts": broadcasts, "paused_lanes": paused})
        return 0
    columns = (COLUMNS[0], JOB, *COLUMNS[1:]) if any(one.job for one in listed) else COLUMNS
    print_table(columns, listed, empty=f"No process of the group {events.group!r} has registered a handler yet.")
    if listed:
        pending = "nothing is pending" if age is None else f"the oldest pending event is {span(age)} old"
        say(f"Group {events.group}: {pending}.")
    for lane in paused:
        say(f"The lane {lane} is paused, nothing of it is read. To let it go on: fastapi-events lanes resume {lane}")
    new = sorted(declared.keys() - {view.name for view in found})
    if new:
        say(clean(f"In this code, and not registered by any process yet: {', '.join(new)}."))
    if broadcasts:
        title("Broadcast handlers, called in every live process that has them")
        print_table(BROADCAST_COLUMNS, broadcasts, empty="")
    return 0


def _listed(view: HandlerView, declaration: HandlerDeclaration | None) -> ListedHandler:
    lag = (datetime.now(UTC) - view.oldest_waiting).total_seconds() if view.oldest_waiting else None
    more = {"where": declaration.where if declaration else None, "lag": lag and max(0.0, round(lag, 3))}
    return ListedHandler.model_validate(view.model_dump() | more)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which handler is to be retired, how, why and by whom."""

    handler: str
    force: bool
    discard_waiting: bool
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Retirement(Retired):
    """What became of it; ``discarded`` counts the deliveries that waited for the handler and were given up."""

    discarded: int = 0


async def retire_handler(events: Any, wish: Wish, *, yes: bool, as_json: bool) -> int:
    """Retire a handler once that has been confirmed, and give up what waits for it if that is wished too."""
    more = " What waits for it is given up for good." if wish.discard_waiting else ""
    async with operators_of(events) as operators:
        question = f"Retire {wish.handler} of the group {events.group}? It gets no new deliveries.{more}"
        if not agreed(question, yes=yes):
            return 1
        retired = await operators.handlers.retire(
            wish.handler, actor=wish.actor, reason=wish.reason, although_live=wish.force
        )
        discarded = await _discard_waiting(operators, wish) if wish.discard_waiting else 0
    done = Retirement(**asdict(retired), discarded=discarded)
    if as_json:
        print_json(done)
    else:
        say(clean(_told(done, wish)))
    return 0


async def _discard_waiting(operators: Operators, wish: Wish) -> int:
    total = 0
    while number := await operators.handlers.discard_waiting(wish.handler, actor=wish.actor, reason=wish.reason):
        total += number
    return total


def _told(done: Retirement, wish: Wish) -> str:
    parts = [f"{done.handler} is retired" if done.now else f"{done.handler} was retired at {exact(done.retired_at)}"]
    if wish.discard_waiting:
        parts.append(f"{done.discarded:,} deliveries that waited for it are discarded")
    else:
        parts.append("what waits for it or is dead stays" if done.now else "nothing was changed")
    if done.processes and done.now:
        parts.append("processes that have it take it into use again when they start")
    return f"{'; '.join(parts)}."
