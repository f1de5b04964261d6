"""Checks of the work: who does it, what waits, what is dead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi_events.api.observe.fleet_views import HandlerView
from fastapi_events.api.observe.retention import KeptLog
from fastapi_events.api.observe.views import Overview
from fastapi_events.cli.doctor.finding import Finding, fail, ok, some, warn, warn_of
from fastapi_events.cli.doctor.gate_checks import gate_findings
from fastapi_events.cli.moments import ago

READINGS = 2
"""Connections that a process opens for readings."""
_ABSENT = frozenset({"no_handler", "trigger_unregistered"})


def needed_connections(overview: Overview, handler_connections: int) -> tuple[int, int]:
    """What the live processes may open in all, each with this application's settings; and how many they are."""
    alive = [worker for worker in overview.workers if worker.alive]
    return sum(w.connections + READINGS + (handler_connections if w.drains else 0) for w in alive), len(alive)


def kept_finding(log: KeptLog) -> Finding:
    """Groups and replays, of any service, for which the log keeps what is past its age."""
    groups = [f"{kept.group!r} (event {kept.position}, {ago(kept.published_at)})" for kept in log.kept_for]
    replays = [
        f"{kept.replay_id} of {kept.handler!r} in {kept.group!r}, {kept.state} ({ago(kept.published_at)})"
        for kept in log.kept_for_replays
    ]
    if not groups and not replays:
        return ok("retention", "no group and no replay keeps old events from being removed")
    holders, mends = list[str](), list[str]()
    if groups:
        holders.append(f"unread by {some(groups)}")
        resume = " Resume what is paused." if any(kept.paused for kept in log.kept_for) else ""
        mends.append(
            "Start the processes of these groups, or remove those that are gone: fastapi-events groups remove "
            f"NAME.{resume}"
        )
    if replays:
        holders.append(f"kept for the replay {some(replays)}")
        mends.append(
            "Let the replay end, resume it if it is paused, or end it: fastapi-events replay cancel ID. One that does "
            "not move keeps nothing after seven days."
        )
    return warn(
        "retention", f"The log cannot shrink. Events past history_retention are {' and '.join(holders)}.",
        " ".join(mends),
    )  # fmt: skip


def work_findings(overview: Overview, parked: Sequence[Any], group: str) -> Iterator[Finding]:
    """Everything that the overview of a group tells."""
    yield _workers(overview, group)
    draining = any(worker.alive and worker.drains for worker in overview.workers)
    if draining:
        yield _polling(overview)
        yield _missing(overview.handlers)
    yield from gate_findings(overview)
    yield _no_handler(overview.handlers)
    yield _dead(overview)
    yield _parked(parked)


def _workers(overview: Overview, group: str) -> Finding:
    draining = [worker for worker in overview.workers if worker.alive and worker.drains]
    if draining:
        return ok("workers", f"{len(draining)} live process{'' if len(draining) == 1 else 'es'} of the group {group!r}")
    if overview.oldest_pending is not None:
        return fail(
            "workers", f"Events wait, the oldest for {ago(overview.oldest_pending)}, and no live process of the group "
            f"{group!r} handles any.", "Start a worker: fastapi-events worker --app module:attribute.",
        )  # fmt: skip
    mend = "Start one before events are published: fastapi-events worker --app module:attribute."
    return warn("workers", f"No live process of the group {group!r} handles events.", mend)


def _polling(overview: Overview) -> Finding:
    deaf = [f"{w.host}:{w.pid}" for w in overview.workers if w.alive and w.drains and w.wake_up == "polling"]
    return warn_of(
        "wake-up", deaf, "Not woken by notifications, so that events wait for the next look: {}.",
        "See the check 'listen'; look for 'listener' in the logs of these processes.",
        well="every live process is woken by notifications",
    )  # fmt: skip


def _missing(handlers: Sequence[HandlerView]) -> Finding:
    missing = [handler.name for handler in handlers if handler.status == "missing"]
    return warn_of(
        "missing handlers", missing, "No live process has {}; events for them pile up as waiting deliveries.",
        "Deploy the code that has them, name them in was=(…) of their successors, or retire them: fastapi-events "
        "handlers retire ID.",
        well="every handler of the group is in a live process",
    )  # fmt: skip


def _no_handler(handlers: Sequence[HandlerView]) -> Finding:
    waiting = [handler for handler in handlers if not _ABSENT.isdisjoint(handler.waiting_reasons)]
    absent = [f"{h.name} ({h.waiting:,} waiting)" for h in waiting if h.status != "live"]
    older = [f"{h.name} ({h.waiting:,} waiting)" for h in waiting if h.status == "live"]
    if not waiting:
        return ok("no_handler deliveries", "none waits")
    what, mends = list[str](), list[str]()
    if absent:
        what.append(f"Waiting for a process that has {some(absent)}.")
        mends.append("Start a process that has the handler, or the job with the trigger: it takes them.")
    if older:
        what.append(
            f"Waiting for another release: {some(older)}, some of a newer version of the event than its live processes "
            "read."
        )
        mends.append("Start a process of the release that publishes it.")
    return warn("no_handler deliveries", " ".join(what), " ".join(mends))


def _dead(overview: Overview) -> Finding:
    if overview.dead:
        number = f"{overview.dead:,}{' or more' if overview.dead_capped else ''}"
        return warn(
            "dead letters", f"{number} dead letter{'' if overview.dead == 1 else 's'}.",
            "See 'fastapi-events dlq groups'; mend the cause, then 'dlq redrive' or 'dlq discard'.",
        )  # fmt: skip
    return ok("dead letters", "none")


def _parked(rows: Sequence[Any]) -> Finding:
    return warn_of(
        "parked keys", [f"{row['keys']:,} of {row['name']}" for row in rows],
        "Ordering keys that wait behind a dead letter: {}.",
        "Redrive or discard the dead letters, or give handlers that need no order on_dead='continue'.",
        well="no key waits behind a dead letter",
    )  # fmt: skip
