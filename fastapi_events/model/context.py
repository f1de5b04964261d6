"""What flows from a request to an event, its handlers and their own events without anybody passing it on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Flow:
    """The inherited part of an envelope; what ``publish`` is told explicitly wins over it."""

    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    tenant_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None
    depth: int = 0


class FlowSource(Protocol):
    """Something that can tell its flow when it is asked; most deliveries never are."""

    def flow(self) -> Flow:
        """The flow that publishes made here inherit."""
        ...


class BoundSource(Protocol):
    """Something that can tell whether a publisher is bound, when it is asked."""

    def bound_by(self) -> str | None:
        """The description of what is bound, or None."""
        ...


_NOTHING = Flow()
_flow: ContextVar[Flow | FlowSource] = ContextVar("fastapi_events_flow", default=_NOTHING)
_bound: ContextVar[str | BoundSource | None] = ContextVar("fastapi_events_bound", default=None)
_delivery: ContextVar[object | None] = ContextVar("fastapi_events_delivery", default=None)
_listener: ContextVar[object | None] = ContextVar("fastapi_events_listener", default=None)
_OWN: frozenset[ContextVar[Any]] = frozenset({_flow, _bound, _delivery, _listener})


def current_flow() -> Flow:
    """The flow of the request or delivery that is running in this context."""
    value = _flow.get()
    return value if isinstance(value, Flow) else value.flow()


@contextmanager
def flowing(**changes: Any) -> Generator[Flow]:
    """Set parts of the flow (``correlation_id``, ``tenant_id``, ``actor``, ``traceparent``) for a block of code."""
    flow = replace(current_flow(), **changes)
    token = _flow.set(flow)
    try:
        yield flow
    finally:
        _flow.reset(token)


def set_flow(flow: Flow | FlowSource) -> None:
    """Set the flow for the rest of the current context (a task of its own: nothing needs to be reset)."""
    _flow.set(flow)


def bound_by() -> str | None:
    """What makes a publish without a session ambiguous here: a bound publisher's or handler's description, or None."""
    value = _bound.get()
    return value if value is None or isinstance(value, str) else value.bound_by()


def in_handler() -> bool:
    """Whether a handler, or middleware around its attempt, is what runs in this context."""
    return isinstance(_bound.get(), str)


def set_bound(by: str | BoundSource | None) -> None:
    """Say that a publisher bound to a session (or a handler) is active for the rest of this context."""
    _bound.set(by)


def current_delivery() -> object | None:
    """Whatever stands for the delivery whose transaction was begun in this context; tasks it starts inherit it."""
    return _delivery.get()


def set_delivery(owner: object) -> None:
    """Say whose transaction the rest of this context is about."""
    _delivery.set(owner)


def current_listener() -> object | None:
    """Whatever listens to what is logged in this context."""
    return _listener.get()


def set_listener(listener: object | None) -> None:
    """Say who listens to what the rest of this context logs."""
    _listener.set(listener)


class Footprint:
    """What a task's context holds when work begins in it, to see what somebody's code has left there."""

    __slots__ = ("_before", "_others")

    def __init__(self) -> None:
        # Our own are set for every piece of work: here they only need to be there.
        _flow.set(_NOTHING)
        _bound.set(None)
        _delivery.set(None)
        _listener.set(None)
        self._before = copy_context()
        self._others = tuple((var, value) for var, value in self._before.items() if var not in _OWN)

    def changed(self) -> bool:
        """Whether a variable that is none of ours has been set, and not been reset."""
        now = copy_context()
        return len(now) != len(self._before) or any(now[var] is not value for var, value in self._others)
