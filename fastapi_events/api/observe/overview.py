"""How things stand: lanes, handlers, processes, rates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi_events.api.observe.concerns import concerns, worst_first
from fastapi_events.api.observe.fleet_views import HandlerView, LaneView, WorkerView
from fastapi_events.api.observe.job_concerns import job_standing, tenants_standing
from fastapi_events.api.observe.retention import kept_for
from fastapi_events.api.observe.schedule import Schedule, schedule
from fastapi_events.api.observe.shaping import handler_view, lane_name, view_of
from fastapi_events.api.observe.views import Overview
from fastapi_events.store.readings import Reader
from fastapi_events.store.readings_log import log_bounds
from fastapi_events.store.readings_rates import publish_rate, publish_rate_of, recent_latencies
from fastapi_events.store.readings_states import consumers

_WORKERS = 200
_PENDING_PER_PARTITION = 400


Tenants = Sequence[str] | None
"""Whose events the reader may see; None is everybody's."""


async def tenants_overview(reader: Reader, group: str | None, limit: int, tenants: Sequence[str]) -> Overview:
    """What concerns some tenants: their dead letters, what waits, what they publish; nothing of the fleet."""
    handlers = await handler_views(reader, group, limit, tenants)
    waits = await schedule(reader, limit, tenants)
    rate = await publish_rate_of(reader, tenants)
    jobs = await tenants_standing(reader, group, tenants)
    found = worst_first(*concerns(rate.ends_at, (), handlers, (), None, limit), *jobs.concerns)
    return Overview(
        moment=rate.ends_at, fleet=False, concerns=found, dead_runs=jobs.dead, jobs=jobs.jobs,
        **_loads(handlers, waits, limit), oldest_pending=None, published_per_minute=rate.per_minute,
        published_exact=rate.exact, latency_p50=None, latency_p99=None, lanes=(), handlers=tuple(handlers), workers=(),
    )  # fmt: skip


async def overview(reader: Reader, group: str | None, limit: int, history_retention: float | None = None) -> Overview:
    """Everything at a glance."""
    latencies = await recent_latencies(reader, (await log_bounds(reader)).partitions, group)
    lanes, _ = await lane_views(reader, group, latencies)
    handlers = await handler_views(reader, group, limit)
    workers, moment = await worker_views(reader, group)
    rate = await publish_rate(reader)
    unread = await kept_for(reader, rate.ends_at, history_retention)
    waits = await schedule(reader, limit)
    everything = [row["latency"] for row in latencies]
    jobs = await job_standing(reader, group, rate.ends_at)
    return Overview(
        moment=moment or rate.ends_at,
        fleet=True,
        concerns=worst_first(*concerns(rate.ends_at, lanes, handlers, workers, waits, limit, unread), *jobs.concerns),
        **_loads(handlers, waits, limit),
        oldest_pending=min((lane.oldest_pending for lane in lanes if lane.oldest_pending), default=None),
        published_per_minute=rate.per_minute,
        published_exact=rate.exact,
        latency_p50=quantile(everything, 0.5),
        latency_p99=quantile(everything, 0.99),
        lanes=tuple(lanes),
        handlers=tuple(handlers),
        workers=tuple(workers),
        jobs=jobs.jobs,
        dead_runs=jobs.dead,
        dead_runs_capped=jobs.capped,
    )


def _loads(handlers: Sequence[HandlerView], waits: Schedule, limit: int) -> dict[str, Any]:
    dead = sum(h.dead for h in handlers)
    return {
        "dead": dead,
        "dead_capped": dead >= limit,
        "waiting": sum(h.waiting for h in handlers),
        "waiting_capped": any(h.waiting >= limit for h in handlers),
        "scheduled": waits.scheduled,
        "scheduled_capped": waits.scheduled >= limit,
    }


async def lane_views(
    reader: Reader, group: str | None, latencies: Sequence[Any] = ()
) -> tuple[list[LaneView], datetime | None]:
    """How far groups are in their lanes, and the database's time; lanes that a group never served are left out."""
    rows = await reader.rows("read_progress", group, _PENDING_PER_PARTITION)
    views: list[LaneView] = []
    for row in rows:
        if not row["partitions"]:
            continue
        own = [r["latency"] for r in latencies if (r["group_name"], r["lane"]) == (row["group_name"], row["lane"])]
        views.append(
            LaneView(
                group=row["group_name"], lane=lane_name(row["lane"]), pending=row["pending"], at_least=row["capped"],
                oldest_pending=row["oldest"], partitions=row["partitions"], leased=row["leased"],
                paused=row["paused"],
                latency_p50=quantile(own, 0.5), latency_p99=quantile(own, 0.99),
            )
        )  # fmt: skip
    return views, rows[0]["moment"] if rows else None


async def handler_views(reader: Reader, group: str | None, limit: int, tenants: Tenants = None) -> list[HandlerView]:
    """Every handler with its load, those in trouble first."""
    known = await consumers(reader, group)
    rows = await reader.rows("read_delivery_counts", [consumer.id for consumer in known], limit, tenants)
    counts = {row["handler_id"]: row for row in rows}
    views = [handler_view(consumer, counts[consumer.id]) for consumer in known]
    return sorted(views, key=lambda view: (view.status == "retired", -view.dead, -view.waiting, view.group, view.name))


async def worker_views(reader: Reader, group: str | None) -> tuple[list[WorkerView], datetime | None]:
    """The processes, and the database's time."""
    rows = await reader.rows("read_workers", group, _WORKERS)
    return [view_of(WorkerView, row, group=row["group_name"]) for row in rows], rows[0]["moment"] if rows else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which that share of the sample lies; None without a sample."""
    if not values:
        return None
    ordered = sorted(values)
    return max(0.0, ordered[min(len(ordered) - 1, int(share * len(ordered)))])
