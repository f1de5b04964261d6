"""Handlers as this process runs them: the declaration, its checked signature, and its number in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi_events.engine.attempt_onion import attempt_onion
from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
from fastapi_events.engine.injection import Given, Signature
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.delivery import WaitReason
from fastapi_events.model.event_parameter import takes_raw_events
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.module import HandlerDeclaration
from fastapi_events.model.onion import AttemptOnion, HandleOnion, PublishOnion, handle_onion, publish_onion
from fastapi_events.model.retry import Retry
from fastapi_events.store.group import HandlerRow, KnownHandler, Snapshot
from fastapi_events.store.renames import rows_of

ANY_VERSION = 32_767
"""What a handler reads that takes an event whose class this process does not know as a ``RawEvent``."""
TRANSACTIONAL: frozenset[type[Any]] = frozenset({HandlerConnection, HandlerSession, SyncHandlerSession})


@dataclass(slots=True, eq=False)
class Handler:
    """A handler ready to run."""

    declaration: HandlerDeclaration
    signature: Signature
    is_async: bool
    retry: Retry
    timeout: float
    breaker: Breaker | None = None
    middleware: tuple[Middleware, ...] = ()
    """All of it, outermost first."""
    number: int = 0
    started_after: Snapshot | None = None

    failed_at: list[float] = field(default_factory=list[float], init=False)
    """When it has failed in this process since its last success, as far as its breaker cares."""
    had_success: bool = field(default=False, init=False)
    """Whether it has succeeded here after a failure, since failures were last written down."""
    id: str = field(init=False)
    function: Callable[..., Any] = field(init=False)
    simple: bool = field(init=False)
    direct: tuple[tuple[str, type[Any]], ...] = field(init=False)
    """The parameters by name and type, if there is no dependency among them and the handler runs on the event loop."""
    transactional: bool = field(init=False)
    queues: bool = field(init=False)
    """Whether an attempt waits for a connection or a thread before its handler's time begins."""
    sets_clock: bool = field(init=False)
    """Whether an attempt says by itself when the handler's time begins."""
    inside: HandleOnion | None = field(init=False)
    outside: AttemptOnion | None = field(init=False)
    publishing: PublishOnion | None = field(init=False)
    """The middleware around the calls of the function, around attempts, and around what the handler publishes."""
    ordered: bool = field(init=False)
    raw: bool = field(init=False)
    """Whether it takes every event as a ``RawEvent``, also that of a known class."""
    reads: int = field(init=False)
    """The newest version of its event that it can be given; older ones are lifted to it."""

    def __post_init__(self) -> None:
        wants = self.signature.wants
        self.id, self.function = self.declaration.id, self.declaration.function
        self.ordered = self.declaration.ordered
        self.raw = self.declaration.event_class is None and takes_raw_events(self.function)
        options = self.declaration.event_class.__event_options__ if self.declaration.event_class else None
        self.reads = options.version if options else ANY_VERSION
        self.transactional = not TRANSACTIONAL.isdisjoint(wants)
        self.queues = self.transactional or not self.is_async
        self.inside, self.outside = handle_onion(self.middleware), attempt_onion(self.middleware)
        self.publishing = publish_onion(self.middleware)
        self.sets_clock = self.queues or self.outside is not None
        self.simple = self.is_async and not self.signature.parameters and self.inside is None
        given = tuple((name, source.type) for name, source in self.signature.parameters if isinstance(source, Given))
        is_direct = self.is_async and len(given) == len(self.signature.parameters) and self.inside is None
        self.direct = given if is_direct else ()

    @property
    def sync_session(self) -> bool:
        """Whether the transaction is that of a ``SyncHandlerSession``."""
        return SyncHandlerSession in self.signature.wants


@dataclass(frozen=True, slots=True, eq=False)
class Taker:
    """One handler that an event is meant for: ``handler`` is None if only another process has it.

    ``reads`` is the newest version that it can be given in this process; ``absent`` says why it cannot be called if
    ``handler`` is None.
    """

    number: int
    ordered: bool
    handler: Handler | None
    started_after: Snapshot | None
    reads: int
    absent: WaitReason = "no_handler"


class Takers:
    """The handlers of one event's name, and from when on all of them receive it.

    ``lists`` are those among them that this process gives lists to, ``singles`` the others.
    """

    __slots__ = ("all", "complete_from", "lists", "singles")

    def __init__(self, takers: Iterable[Taker]) -> None:
        self.all = tuple(takers)
        self.lists = tuple(t for t in self.all if t.handler is not None and t.handler.declaration.batch is not None)
        self.singles = tuple(t for t in self.all if t not in self.lists) if self.lists else self.all
        starts = [taker.started_after.xmax for taker in self.all if taker.started_after is not None]
        self.complete_from = max(starts, default=0)

    def of(self, among: tuple[Taker, ...], xid: int | None, oldest_seen: int) -> tuple[Taker, ...]:
        """Those that an event is meant for: the ones that had started before its transaction became visible."""
        if xid is None or xid >= self.complete_from or oldest_seen >= self.complete_from:
            return among
        return tuple(t for t in among if t.started_after is None or not t.started_after.shows(xid))


class HandlerPlan:
    """Which handlers take which event: this process's own, and those of the group that it lacks."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self.handlers = {handler.id: handler for handler in handlers}
        self.revision = -1
        self._known: dict[str, KnownHandler] = {}
        self._takers: dict[str, Takers] = {}
        self.by_number: dict[int, Handler] = {}
        self.has_lists = any(handler.declaration.batch is not None for handler in self.handlers.values())

    def learn(self, known: dict[str, KnownHandler], revision: int) -> None:
        """Take over what the database says of the group's handlers."""
        self._known, self.revision, self._takers = known, revision, {}
        self.by_number = {}
        for name, row in rows_of(self.handlers, list(known.values())).items():
            handler = self.handlers[name]
            handler.number, handler.started_after = row.id, row.started_after
            self.by_number[row.id] = handler

    def takers_of(self, name: str) -> Takers:
        """Every handler of the group that selects events of this name."""
        takers = self._takers.get(name)
        if takers is None:
            rows = [row for row in self._known.values() if row.takes(name)]
            takers = self._takers[name] = Takers(_taker(row, self.by_number.get(row.id)) for row in rows)
        return takers

    @property
    def numbers(self) -> list[int]:
        """The database's numbers of the handlers that this process has."""
        return list(self.by_number)

    @property
    def reads(self) -> dict[int, int]:
        """The newest version that each of these handlers can be given."""
        return {number: handler.reads for number, handler in self.by_number.items()}

    def rows(self) -> list[HandlerRow]:
        """What this process says of its handlers when it registers them."""
        declarations = [handler.declaration for handler in self.handlers.values()]
        return [HandlerRow(d.id, d.selects, d.ordered, d.on_dead, d.was, d.start, d.job) for d in declarations]


def _taker(row: KnownHandler, handler: Handler | None) -> Taker:
    absent: WaitReason = "no_handler" if row.job is None else "trigger_unregistered"
    reads = handler.reads if handler else ANY_VERSION
    return Taker(row.id, row.ordered, handler, row.started_after, reads, absent)
