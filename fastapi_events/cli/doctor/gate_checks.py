"""Checks of what an operator or a failing handler has stopped: events wait for it although everything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi_events.api.observe.fleet_views import HandlerView, LaneView
from fastapi_events.api.observe.views import Overview
from fastapi_events.cli.doctor.finding import Finding, ok, some, warn


def gate_findings(overview: Overview) -> Iterator[Finding]:
    """What is paused, and which circuit breakers are open."""
    yield _paused([lane for lane in overview.lanes if lane.paused], overview.handlers)
    yield _breakers(overview.handlers)


def _paused(lanes: Sequence[LaneView], handlers: Sequence[HandlerView]) -> Finding:
    stopped = [handler for handler in handlers if handler.paused_at is not None]
    if not lanes and not stopped:
        return ok("paused", "neither a lane nor a handler")
    what, mends = list[str](), list[str]()
    if lanes:
        pending = [f"{lane.lane} ({lane.pending:,}{'+' if lane.at_least else ''} pending)" for lane in lanes]
        what.append(f"Paused lanes, of which nothing is read: {some(pending)}.")
        mends += [f"fastapi-events lanes resume {lane.lane}" for lane in lanes]
    if stopped:
        waiting = [f"{handler.name} ({handler.waiting:,} waiting)" for handler in stopped]
        what.append(f"Paused handlers, which are not called: {some(waiting)}.")
        mends.append(f"fastapi-events handlers resume {_one(stopped)}")
    return warn("paused", " ".join(what), f"To let them go on: {'; '.join(mends)}.")


def _breakers(handlers: Sequence[HandlerView]) -> Finding:
    opened = [handler for handler in handlers if handler.breaker_opened_at is not None]
    if not opened:
        return ok("breakers", "no circuit breaker is open")
    waiting = [f"{handler.name} ({handler.waiting:,} waiting)" for handler in opened]
    return warn(
        "breakers", f"Open circuit breakers, of handlers that only failed: {some(waiting)}.",
        "Mend the cause; an event is tried now and then, and one that succeeds closes it. To close one at once: "
        f"fastapi-events handlers reset-breaker {_one(opened)}.",
    )  # fmt: skip


def _one(handlers: Sequence[HandlerView]) -> str:
    return handlers[0].name if len(handlers) == 1 else "ID"
