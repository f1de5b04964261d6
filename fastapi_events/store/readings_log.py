"""Reading the log for people: pages of history by position, newest first, each search bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.model.lane import AUDIT
from fastapi_events.store.readings import Reader

LANES = range(4)
SEARCH_TIME = 1.5
"""Seconds after which a search stops looking further and says how far it got."""
_FIRST_WINDOW = 512
_WIDEST_WINDOW = 262_144
_ROWS = 600
"""Rows of one round; no less than the longest page with its look-ahead."""
_PLACES = 500
_SLACK = 1_000
"""Positions by which drawing a position and noting the time of publishing may be out of order."""


@dataclass(frozen=True, slots=True)
class LogBounds:
    """The log's first and last possible position, its number of partitions, and the database's time."""

    first: int
    last: int
    partitions: int
    moment: datetime


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """What an event must be like; None is anything. ``name`` is a LIKE pattern, ``payload`` pairs of path and value.

    ``tenants`` is no wish but a limit: whose events the reader may see.
    """

    id: UUID | None = None
    name: str | None = None
    aggregate: str | None = None
    aggregate_id: str | None = None
    tenant_id: str | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    actor: str | None = None
    key: str | None = None
    published_from: datetime | None = None
    published_before: datetime | None = None
    payload: tuple[tuple[tuple[str, ...], str], ...] = ()
    delivery_state: str | None = None
    handler: str | None = None
    group: str | None = None
    audit: bool | None = None

    @property
    def lanes(self) -> list[int]:
        """The lanes that such events are in."""
        return [lane for lane in LANES if self.audit is None or self.audit == (lane == AUDIT)]

    tenants: tuple[str, ...] | None = None

    @property
    def wanted_tenants(self) -> tuple[str, ...]:
        """The tenants that are asked for, as far as the reader may see them."""
        asked = self.tenants if self.tenant_id is None else (self.tenant_id,)
        return tuple(one for one in asked or () if self.tenants is None or one in self.tenants)

    def arguments(self) -> tuple[Any, ...]:
        """The statement's filter arguments, in its order."""
        values = [{"path": list(path), "value": value} for path, value in self.payload]
        return (
            self.name, self.aggregate, self.aggregate_id, self.tenant_id, self.correlation_id, self.causation_id,
            self.actor, self.key, self.published_from, self.published_before, json.dumps(values) if values else None,
            self.tenants, self.id,
        )  # fmt: skip


@dataclass(slots=True)
class Stretch:
    """What a search found, newest first, and whether there is more on either side.

    ``reached`` is the position down (or up) to which everything has been looked at; ``ended`` says that it is the end
    of the log, otherwise the search stopped because the page is full or its time was over.
    """

    rows: list[Any]
    reached: int
    ended: bool
    full: bool


Keep = Callable[[Sequence[Any]], Awaitable[list[Any]]]
Ranges = tuple[list[int], list[int], list[int], list[int]]


async def log_bounds(reader: Reader) -> LogBounds:
    """Where the log begins and ends."""
    row = await reader.row("read_log_bounds")
    return LogBounds(row["first_position"], row["last_position"], row["partitions"], row["moment"])


async def first_position_from(reader: Reader, bounds: LogBounds, moment: datetime) -> int:
    """The position of the first event published at or after ``moment``; by bisection, a handful of probes each step.

    Publishing times follow positions but for moments, so callers who need certainty leave some slack.
    """
    low, high = bounds.first, bounds.last + 1
    found = high
    while low < high:
        middle = (low + high) // 2
        row = await reader.row("read_first_event_from", middle, bounds.partitions)
        if row is not None and row["published_at"] < moment:
            low = row["position"] + 1
        else:
            found = row["position"] if row is not None else found
            high = middle
    return found


async def bounds_of(reader: Reader, where: HistoryFilter) -> LogBounds:
    """The part of the log that the filter's times leave."""
    bounds = await log_bounds(reader)
    first, last = bounds.first, bounds.last
    if where.published_from is not None:
        first = max(first, await first_position_from(reader, bounds, where.published_from) - _SLACK)
    if where.published_before is not None:
        last = min(last, await first_position_from(reader, bounds, where.published_before) + _SLACK)
    return LogBounds(first, last, bounds.partitions, bounds.moment)


async def search_older(
    reader: Reader, bounds: LogBounds, where: HistoryFilter, *, below: int | None, limit: int, keep: Keep
) -> Stretch:
    """The newest ``limit`` events below a position that pass the filter and ``keep``."""
    reached = min(bounds.last + 1, below if below is not None else bounds.last + 1)
    deadline = asyncio.get_running_loop().time() + SEARCH_TIME
    found: list[Any] = []
    width = _FIRST_WINDOW
    while reached > bounds.first and len(found) <= limit and asyncio.get_running_loop().time() < deadline:
        places = await _places(reader, where, reached)
        if places is None:
            ranges, low = _window(bounds, where.lanes, max(bounds.first, reached - width), reached - 1)
        else:
            ranges, low = places
        rows = await _in_ranges(reader, ranges, where)
        reached = rows[-1]["position"] if len(rows) == _ROWS else low
        found += await keep(rows)
        width = min(width * 4, _WIDEST_WINDOW)
    full = len(found) > limit
    if full:
        reached = found[limit - 1]["position"]
    return Stretch(found[:limit], max(reached, bounds.first), ended=reached <= bounds.first and not full, full=full)


async def search_newer(
    reader: Reader, bounds: LogBounds, where: HistoryFilter, *, above: int, limit: int, keep: Keep
) -> Stretch:
    """The oldest ``limit`` events above a position that pass the filter and ``keep``; still newest first."""
    reached = max(above, bounds.first - 1)
    deadline = asyncio.get_running_loop().time() + SEARCH_TIME
    found: list[Any] = []
    width = _FIRST_WINDOW
    while reached < bounds.last and len(found) <= limit and asyncio.get_running_loop().time() < deadline:
        high = min(bounds.last, reached + width)
        ranges, _ = _window(bounds, where.lanes, reached + 1, high)
        rows = await _in_ranges(reader, ranges, where)
        if len(rows) == _ROWS and width > 1:
            width //= 2  # the statement keeps the newest of a window; here the oldest are wanted
            continue
        found += reversed(await keep(rows))
        reached = high
        width = min(width * 4, _WIDEST_WINDOW) if len(rows) < _ROWS // 8 else width
    full = len(found) > limit
    page = found[:limit]
    if full:
        reached = page[-1]["position"]
    return Stretch(page[::-1], reached, ended=reached >= bounds.last and not full, full=full)


async def _in_ranges(reader: Reader, ranges: Ranges, where: HistoryFilter) -> list[Any]:
    return await reader.rows("read_events_in_ranges", *ranges, _ROWS, *where.arguments()) if ranges[0] else []


def _window(bounds: LogBounds, wanted: Sequence[int], low: int, high: int) -> tuple[Ranges, int]:
    """Every partition of the wanted lanes between two positions."""
    lanes = [lane for lane in wanted for _ in range(bounds.partitions)]
    partitions = list(range(bounds.partitions)) * len(wanted)
    return (lanes, partitions, [low] * len(lanes), [high] * len(lanes)), low


async def _places(reader: Reader, where: HistoryFilter, below: int) -> tuple[Ranges, int] | None:
    """Where to look, if the filter names something that has an index of its own, and down to where that reaches."""
    if where.id is not None:
        rows, asked = await reader.rows("read_places_by_id", where.id), _PLACES
        rows = [row for row in rows if row["position"] < below]
    elif where.delivery_state is not None:
        rows, asked = await _places_by_state(reader, where, below)
    elif where.correlation_id is not None:
        asked = _PLACES
        rows = await reader.rows("read_places_by_correlation", where.correlation_id, below, asked)
    elif where.aggregate is not None and where.aggregate_id is not None:
        asked = _PLACES
        rows = await reader.rows("read_places_by_aggregate", where.aggregate, where.aggregate_id, below, asked)
    elif where.tenant_id is not None or where.tenants is not None:
        asked = _PLACES * 4
        rows = await reader.rows("read_places_by_tenant", where.wanted_tenants, below, asked)
    else:
        return None
    low = rows[-1]["position"] if len(rows) >= asked else 0
    lanes = where.lanes
    wanted = {row["position"]: row for row in rows if row.get("wanted", True) and row["lane"] in lanes}.values()
    positions = [row["position"] for row in wanted]
    return ([row["lane"] for row in wanted], [row["partition"] for row in wanted], positions, positions), low


async def _places_by_state(reader: Reader, where: HistoryFilter, below: int) -> tuple[list[Any], int]:
    asked = _PLACES * 4
    rows = await reader.rows("read_places_by_state", where.delivery_state, where.handler, where.group, below, asked)
    return rows, asked
