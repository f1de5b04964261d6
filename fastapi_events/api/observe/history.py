"""The history of events: pages of it, and one event with everything around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi_events.api.observe.filters import EventFilter
from fastapi_events.api.observe.shaping import (
    attempts_by_delivery,
    event_summary,
    handler_delivery,
    summary_fields,
    view_of,
)
from fastapi_events.api.observe.views import EventDetail, EventPage, EventSummary
from fastapi_events.store.readings import Reader
from fastapi_events.store.readings_log import (
    HistoryFilter,
    LogBounds,
    Stretch,
    bounds_of,
    log_bounds,
    search_newer,
    search_older,
)
from fastapi_events.store.readings_states import Consumer, Standing, consumers, standings

Tenants = tuple[str, ...] | None
"""Whose events the reader may see; None is everybody's."""
MAX_ATTEMPTS = 50
"""Attempts that a detail shows of one delivery, the newest."""
_CONVERSATION = 100
_BATCHES = 200


class _Sieve:
    """Keeps the events whose handlers stand as the filter asks, and remembers where they stand."""

    def __init__(self, reader: Reader, known: Sequence[Consumer], wanted: EventFilter) -> None:
        self._reader, self._known, self._wanted = reader, known, wanted
        self.standings: dict[int, list[Standing]] = {}

    async def keep(self, rows: Sequence[Any]) -> list[Any]:
        if not rows:
            return []
        found = await standings(self._reader, rows, self._known)
        self.standings.update(found)
        return [row for row in rows if self._passes(row, found[row["position"]])]

    def _passes(self, row: Any, stands: Sequence[Standing]) -> bool:
        handler, status = self._wanted.where.handler, self._wanted.status
        if handler is not None:
            stands = [stand for stand in stands if stand.consumer.name == handler]
            if not stands:
                return False
        if status is None:
            return True
        if handler is not None or status in ("dead", "waiting", "discarded"):
            return any(stand.state == status or (stand.state, status) == ("running", "waiting") for stand in stands)
        return event_summary(row, stands).status == status


async def event_page(
    reader: Reader, group: str | None, tenants: Tenants, wanted: EventFilter, *, before: int | None,
    after: int | None, limit: int,
) -> EventPage:  # fmt: skip
    """A page of history below ``before`` or above ``after``, or the newest."""
    wanted = replace(wanted, where=replace(wanted.where, group=group, tenants=tenants))
    bounds = await bounds_of(reader, wanted.where)
    sieve = _Sieve(reader, await consumers(reader, group), wanted)
    if after is not None:
        stretch = await search_newer(reader, bounds, wanted.where, above=after, limit=limit, keep=sieve.keep)
        return _page(stretch, sieve, newer=not stretch.ended, older=True, upwards=True)
    stretch = await search_older(reader, bounds, wanted.where, below=before, limit=limit, keep=sieve.keep)
    newer = before is not None and before <= bounds.last
    return _page(stretch, sieve, newer=newer, older=not stretch.ended, upwards=False)


def _page(stretch: Stretch, sieve: _Sieve, *, newer: bool, older: bool, upwards: bool) -> EventPage:
    events = tuple(event_summary(row, sieve.standings[row["position"]]) for row in stretch.rows)
    top = events[0].position if events else stretch.reached
    bottom = events[-1].position if events else stretch.reached
    stopped = not stretch.full and not stretch.ended
    return EventPage(
        events=events,
        newer=(stretch.reached if upwards else top) if newer else None,
        older=(bottom if upwards or not stopped else stretch.reached) if older else None,
        searched_to=stretch.reached if stopped else None,
    )


async def event_detail(reader: Reader, group: str | None, tenants: Tenants, event_id: UUID) -> EventDetail | None:
    """One event, its deliveries and attempts, and the events that share its correlation; None if the log lacks it."""
    places = await reader.rows("read_places_by_id", event_id)
    if not places:
        return None
    row = await reader.row("read_event", places[0]["lane"], places[0]["partition"], places[0]["position"], tenants)
    if row is None:
        return None
    known = await consumers(reader, group)
    stands = (await standings(reader, [row], known))[row["position"]]
    delivery_ids = [stand.delivery["id"] for stand in stands if stand.delivery is not None]
    attempts = attempts_by_delivery(await reader.rows("read_attempts", delivery_ids, MAX_ATTEMPTS))
    groups = sorted({stand.consumer.group_id for stand in stands})
    successes = await reader.rows("read_successes", groups, row["lane"], row["position"], _BATCHES) if groups else []
    return view_of(
        EventDetail,
        row,
        **summary_fields(row, stands),
        deliveries=tuple(handler_delivery(stand, attempts, successes) for stand in stands),
        conversation=await _conversation(reader, row["correlation_id"], tenants, known),
    )


async def _conversation(
    reader: Reader, correlation_id: UUID, tenants: Tenants, known: Sequence[Consumer]
) -> tuple[EventSummary, ...]:
    """The events of one correlation, oldest first."""
    bounds: LogBounds = await log_bounds(reader)
    wanted = EventFilter((), HistoryFilter(correlation_id=correlation_id, tenants=tenants), None)
    sieve = _Sieve(reader, known, wanted)
    stretch = await search_older(reader, bounds, wanted.where, below=None, limit=_CONVERSATION, keep=sieve.keep)
    return tuple(event_summary(row, sieve.standings[row["position"]]) for row in reversed(stretch.rows))
