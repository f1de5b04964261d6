"""Middleware: what an application wraps around publishing, around the calls of its handlers, and around attempts."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypedDict, Unpack
from uuid import UUID

from fastapi_events.errors import UnknownOption
from fastapi_events.model.delivery import DeadReason
from fastapi_events.model.event import Event, RawEvent
from fastapi_events.model.outcome import Failure, OutcomeKind


class PublishChanges(TypedDict, total=False):
    """What a middleware may change about a publish."""

    event: Event | RawEvent
    event_id: UUID | None
    occurred_at: datetime | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID | None
    causation_id: UUID | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishContext:
    """One event on its way into its transaction; nothing of it has been validated yet.

    ``event`` is a ``RawEvent`` if it is published by ``raw``. ``tenant_id``, ``correlation_id`` and ``causation_id``
    are what the event would get: given to ``publish``, or inherited. ``event_id``, ``occurred_at`` and ``key`` are None
    unless they were given; ``headers`` are those given. ``tenant_said``: somebody said whose the event is, so that a
    ``tenant_id`` of None means that it belongs to no tenant, rather than that nobody has said so far.
    """

    event: Event | RawEvent
    event_id: UUID | None
    occurred_at: datetime | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID | None
    causation_id: UUID | None
    headers: Mapping[str, str]
    seal: Callable[[PublishContext], UUID] = field(repr=False, compare=False)
    """The end of the chain; called by the library."""
    tenant_said: bool = False
    """Kept by ``replace``."""

    def replace(self, **changes: Unpack[PublishChanges]) -> PublishContext:
        """The same publish with another event or other options; None for an option lets it be inherited or derived.

        A ``tenant_id`` of None says that the event belongs to no tenant, as in ``publish``. Raises ``UnknownOption``
        for anything else.
        """
        known = [name.name for name in dataclasses.fields(self) if name.name not in ("seal", "tenant_said")]
        for name in changes:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                raise UnknownOption(f"A PublishContext has no {name!r} to replace. {hint}It has {', '.join(known)}.")
        said = self.tenant_said or "tenant_id" in changes
        return dataclasses.replace(self, tenant_said=said, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOutcome:
    """What became of an attempt, to be looked at.

    ``kind``: ``done``; ``duplicate`` (a mark says that it was done before); ``retry`` (failed, again after ``delay``
    seconds); ``postponed`` (``RetryLater``) and ``interrupted`` (infrastructure, shutdown), neither of which spends an
    attempt; ``dead`` for ``reason``; ``discarded`` with a ``note``. ``duration`` is in seconds, from decoding to
    commit, without the wait for a connection or thread.
    """

    kind: OutcomeKind
    reason: DeadReason | None
    note: str | None
    failure: Failure | None
    delay: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext:
    """One attempt of one handler on one event; ``name`` is the event's, ``handler`` the handler's id.

    ``attempt`` counts from 1. ``redelivered`` is true when an earlier try may have run already.
    """

    handler: str
    name: str
    version: int
    event_id: UUID
    position: int
    attempt: int
    redelivered: bool
    correlation_id: UUID
    causation_id: UUID | None
    tenant_id: str | None
    headers: Mapping[str, str]
    published_at: datetime
    proceed: Callable[[Any], Awaitable[Any]] = field(repr=False, compare=False)
    """The end of the chain; called by the library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleContext(AttemptContext):
    """One call of a handler: the attempt, with the event as the handler takes it.

    ``session`` is the ``HandlerSession`` or ``SyncHandlerSession`` of a handler that takes one, else None.
    ``idempotency_key`` and ``deadline`` are those of its ``Delivery``.
    """

    event: Any
    session: Any
    idempotency_key: str
    deadline: datetime

    def replace(self, *, event: Any) -> HandleContext:
        """The same call with another event of the same class."""
        return dataclasses.replace(self, event=event)


PublishNext = Callable[[PublishContext], Awaitable[UUID]]
HandleNext = Callable[[HandleContext], Awaitable[None]]
AttemptNext = Callable[[AttemptContext], Awaitable[AttemptOutcome]]


class Middleware:
    """Base of an application's middleware: derive a class and override any of the three methods.

    Example::

        class Timing(Middleware):
            async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
                began = perf_counter()
                try:
                    await call_next(context)
                finally:
                    histogram.observe(perf_counter() - began, context.handler)


        events = Events(modules=[orders], middleware=[Timing()])

    A method awaits ``call_next(context)`` exactly once and returns nothing; it says no by raising. One object serves
    all events at the same time: what belongs to one event is kept in local variables. It is given to ``Events``,
    ``Module`` or ``on``; the first one given is the outermost, and those of ``Events`` are around those of the module,
    which are around those of the handler. What is not overridden costs nothing.
    """

    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        """Around every publish, before the event is validated; ``call_next`` returns the event's id.

        Pass ``context.replace(...)`` on to change event or options. The event joins its transaction after the last
        middleware has returned, so nothing is published if one raises. Given to a module or a handler, it is around
        what its handlers publish. A ``SyncEventPublisher`` can run it only if it waits for nothing but ``call_next``.
        """
        await call_next(context)

    async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
        """Around the call of the handler, dependencies included: in its transaction, and within its time-out.

        What it raises is as if the handler had raised it: the transaction is rolled back, and ``Discard``,
        ``DeadLetter`` and ``RetryLater`` decide. An error of the handler that it keeps to itself is raised again.
        """
        await call_next(context)

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        """Around the whole attempt, from decoding to commit; ``call_next`` returns the ``AttemptOutcome``.

        It looks on: whatever it does, the attempt is made, and its outcome stands. What it raises is logged. Before and
        after the attempt it may take as long as the handler's time-out, each time.
        """
        await call_next(context)
