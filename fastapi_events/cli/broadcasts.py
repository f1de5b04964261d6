"""The broadcast handlers of a group: those of its live processes, and those of this code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastapi_events.api.observe.fleet_views import BroadcastView
from fastapi_events.api.observe.view import View
from fastapi_events.cli.declared import shortened
from fastapi_events.cli.terminal import Column
from fastapi_events.model.module import HandlerDeclaration


class ListedBroadcast(View):
    """A broadcast handler: how many live processes have it, and ``where`` it is declared in this code, if it is."""

    name: str
    selects: str
    audit: bool
    processes: int
    where: str | None


BROADCAST_COLUMNS = (
    Column("HANDLER", lambda b: b.name, whole=True),
    Column("LIVE", lambda b: b.processes, right=True),
    Column("SELECTS", lambda b: b.selects),
    Column("WHERE", lambda b: b.where and shortened(b.where), wide=True),
)


def list_broadcasts(live: Iterable[BroadcastView], declared: Sequence[HandlerDeclaration]) -> list[ListedBroadcast]:
    """Those of live processes, and those that this code alone has, by name."""
    places = {(one.id, one.selects, one.audit): one.where for one in declared}
    found = {(one.name, one.selects, one.audit): one.processes for one in live}
    return [
        ListedBroadcast(name=key[0], selects=key[1], audit=key[2], processes=found.get(key, 0), where=places.get(key))
        for key in sorted(found.keys() | places.keys())
    ]
