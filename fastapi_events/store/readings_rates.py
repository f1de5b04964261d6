"""How fast events are published and dealt with, from samples: no row is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi_events.store.readings import Reader
from fastapi_events.store.readings_log import LogBounds, first_position_from, log_bounds

MINUTES = 30
_SAMPLES = 120
_BATCHES = 40
_COUNTED = 20_000


@dataclass(frozen=True, slots=True)
class PublishRate:
    """Events published in each of the last minutes, oldest first; ``exact`` unless the stretch had to be sampled."""

    ends_at: datetime
    per_minute: tuple[int, ...]
    exact: bool


async def publish_rate(reader: Reader) -> PublishRate:
    """Published events of the last thirty minutes by minute, counted where there are few and estimated where many."""
    bounds = await log_bounds(reader)
    since = bounds.moment - timedelta(minutes=MINUTES)
    first = await first_position_from(reader, bounds, since)
    step = max(1, -(-(bounds.last + 1 - first) // _SAMPLES))
    asked = list(range(first, bounds.last + 1, step))
    rows = await reader.rows("read_publish_times", asked, bounds.partitions) if asked else []
    counts = [0] * MINUTES
    for moment, weight in _weighted(rows, step, bounds):
        minute = int((moment - since).total_seconds() // 60)
        if 0 <= minute < MINUTES:
            counts[minute] += weight
    return PublishRate(bounds.moment, tuple(counts), exact=step == 1)


async def publish_rate_of(reader: Reader, tenants: Sequence[str]) -> PublishRate:
    """The same of some tenants' events, counted; not ``exact`` where there are more than are looked at."""
    bounds = await log_bounds(reader)
    since = bounds.moment - timedelta(minutes=MINUTES)
    first = await first_position_from(reader, bounds, since)
    rows = await reader.rows("read_publish_counts_of_tenants", tenants, first, _COUNTED, since)
    found = {row["minute"]: row["published"] for row in rows}
    counts = tuple(found.get(minute, 0) for minute in range(MINUTES))
    return PublishRate(bounds.moment, counts, exact=sum(found.values()) < _COUNTED)


async def recent_latencies(reader: Reader, partitions: int, group: str | None) -> list[Any]:
    """Group, lane, time and seconds from publishing to done of the newest batches."""
    return await reader.rows("read_recent_successes", _BATCHES, partitions, group)


def _weighted(rows: Sequence[Any], step: int, bounds: LogBounds) -> list[tuple[datetime, int]]:
    """Each sampled event with the number of events that it stands for; one that was found twice lies after a gap."""
    distinct = {row["position"]: row["published_at"] for row in rows}
    return [(moment, min(step, bounds.last + 1 - position)) for position, moment in distinct.items()]
