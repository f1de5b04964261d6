"""What needs a person, worst first. Nothing is said of what is well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from fastapi_events.api.observe.fleet_views import HandlerView, LaneView, WorkerView
from fastapi_events.api.observe.retention import KeptFor
from fastapi_events.api.observe.schedule import Schedule
from fastapi_events.api.observe.views import Concern

LATE = 60.0
"""Seconds after which an event that nobody has dealt with is worth a warning."""


def concerns(
    moment: datetime,
    lanes: Sequence[LaneView],
    handlers: Sequence[HandlerView],
    workers: Sequence[WorkerView],
    waits: Schedule | None,
    limit: int,
    unread: Sequence[KeptFor] = (),
) -> tuple[Concern, ...]:
    """Everything that needs attention now; ``limit`` is where counting dead letters stopped.

    Without ``waits`` nothing is said of the schedule: that it is late is the fleet's affair.
    """
    found = [
        *_kept_log(moment, unread),
        *_late_lanes(moment, lanes, workers),
        *_late_schedule(waits, workers),
        *_dead_letters(handlers, limit),
        *_stopped_handlers(handlers),
        *_missing_handlers(handlers),
        *_newer_versions(moment, handlers),
        *_lost_workers(workers),
        *_skipped_broadcasts(workers),
    ]
    return worst_first(*found)


def worst_first(*found: Concern) -> tuple[Concern, ...]:
    """Errors before warnings, else in their order."""
    return tuple(sorted(found, key=lambda concern: concern.severity != "error"))


def _kept_log(moment: datetime, unread: Sequence[KeptFor]) -> Iterator[Concern]:
    for group in unread:
        days = (moment - group.published_at).total_seconds() / 86_400
        mend = "It is paused: resume it" if group.paused else "Start its processes"
        yield Concern(
            severity="error", what=f"The log cannot shrink: {group.group} has not read it for {days:,.0f} days",
            why=f"Everything from event {group.position} on is kept for it. {mend}, or remove the group.",
            page="workers",
        )  # fmt: skip


def _dead_letters(handlers: Sequence[HandlerView], limit: int) -> Iterator[Concern]:
    for handler in sorted(handlers, key=lambda h: -h.dead):
        if handler.dead:
            many = f"{limit:,} or more dead letters" if handler.dead >= limit else _count(handler.dead, "dead letter")
            parks = handler.ordered and handler.on_dead == "park"
            yield Concern(
                severity="error", what=f"{handler.name} has {many}",
                why="Later events of the same key wait until somebody acts." if parks else "Later events pass them.",
                page="dead-letters", filter=f"handler:{handler.name}",
            )  # fmt: skip


def _late_lanes(moment: datetime, lanes: Sequence[LaneView], workers: Sequence[WorkerView]) -> Iterator[Concern]:
    draining = {worker.group for worker in workers if worker.alive and worker.drains}
    for lane in lanes:
        if lane.oldest_pending is None:
            continue
        if lane.paused:
            yield Concern(
                severity="warning", what=f"Lane {lane.lane} of {lane.group} is paused",
                why=f"{lane.pending:,}{'+' if lane.at_least else ''} pending.", page="events", filter="status:pending",
            )  # fmt: skip
            continue
        age = (moment - lane.oldest_pending).total_seconds()
        waits = f"{lane.pending:,}{'+' if lane.at_least else ''} pending, the oldest for {age:,.0f} s"
        if lane.group not in draining:
            yield Concern(
                severity="error", what=f"No process drains {lane.group}", why=f"{lane.lane}: {waits}. Start a worker.",
                page="workers",
            )  # fmt: skip
        elif age > LATE:
            yield Concern(
                severity="warning", what=f"{lane.group} is late in lane {lane.lane}", why=waits, page="events",
                filter="status:pending",
            )  # fmt: skip


def _late_schedule(waits: Schedule | None, workers: Sequence[WorkerView]) -> Iterator[Concern]:
    if waits is None or waits.oldest_due is None or (age := (waits.moment - waits.oldest_due).total_seconds()) <= LATE:
        return
    moved = any(worker.alive and worker.drains for worker in workers)
    yield Concern(
        severity="warning" if moved else "error", what=f"{_count(waits.overdue, 'scheduled event')} overdue",
        why=f"The oldest for {age:,.0f} s. {'The workers are behind.' if moved else 'Start a worker.'}",
        page="scheduled",
    )  # fmt: skip


def _stopped_handlers(handlers: Sequence[HandlerView]) -> Iterator[Concern]:
    for handler in handlers:
        waits = f"{_count(handler.waiting, 'delivery', 'deliveries')} waiting."
        if handler.breaker_opened_at is not None:
            yield Concern(
                severity="error", what=f"{handler.name} only fails",
                why=f"Its circuit breaker is open; an event is tried now and then. {waits}", page="handlers",
            )  # fmt: skip
        if handler.paused_at is not None:
            yield Concern(severity="warning", what=f"{handler.name} is paused", why=waits, page="handlers")


def _name(handler: HandlerView) -> str:
    return handler.name if handler.job is None else f"{handler.name}, which starts job {handler.job}"


def _missing_handlers(handlers: Sequence[HandlerView]) -> Iterator[Concern]:
    for handler in handlers:
        if handler.status == "missing" and handler.waiting:
            yield Concern(
                severity="warning", what=f"No live process has {_name(handler)}",
                why=f"{_count(handler.waiting, 'delivery', 'deliveries')} waiting for it. Start a process that has it.",
                page="handlers",
            )  # fmt: skip


def _newer_versions(moment: datetime, handlers: Sequence[HandlerView]) -> Iterator[Concern]:
    """What live processes have left for a release that does not come."""
    for handler in handlers:
        waits = handler.status == "live" and "no_handler" in handler.waiting_reasons and handler.oldest_waiting
        if waits and (moment - waits).total_seconds() > LATE:
            yield Concern(
                severity="warning", what=f"{handler.name} waits for another release",
                why=f"{_count(handler.waiting, 'delivery', 'deliveries')} waiting, some of a newer version of the "
                "event than its live processes read. Start a process of the release that publishes it.",
                page="handlers",
            )  # fmt: skip


def _lost_workers(workers: Sequence[WorkerView]) -> Iterator[Concern]:
    lost = [worker for worker in workers if not worker.alive]
    if lost:
        yield Concern(
            severity="warning", what=f"{_count(len(lost), 'process', 'processes')} ended without saying so",
            why="Their leases have run out; others have taken over their work.", page="workers",
        )  # fmt: skip


def _skipped_broadcasts(workers: Sequence[WorkerView]) -> Iterator[Concern]:
    behind = [worker for worker in workers if worker.alive and worker.broadcast_skipped]
    if behind:
        yield Concern(
            severity="warning", what=f"{_count(len(behind), 'process', 'processes')} skipped broadcast events",
            why="They were too far behind, or the events were of a newer version than they read: their log says which. "
            "What they keep in memory may be stale until they are restarted.",
            page="workers",
        )  # fmt: skip


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
