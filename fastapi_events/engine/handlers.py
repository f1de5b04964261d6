"""Handlers as this process runs them: the declaration, its checked signature, and its number in the database."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fastapi_events.engine.attempt_onion import attempt_onion
from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
from fastapi_events.engine.injection import Dependency, Given, Signature, gives_one_of, read_signature
from fastapi_events.engine.list_handlers import check_first_parameter, check_lists, types_for
from fastapi_events.errors import InvalidHandler
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.event_parameter import takes_raw_events
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.module import HandlerDeclaration
from fastapi_events.model.onion import AttemptOnion, HandleOnion, PublishOnion, handle_onion, publish_onion
from fastapi_events.model.registry import Registry
from fastapi_events.model.retry import Retry
from fastapi_events.store.group import HandlerRow, KnownHandler, Snapshot
from fastapi_events.store.renames import rows_of

ANY_VERSION = 32_767
"""What a handler reads that takes an event whose class this process does not know as a ``RawEvent``."""
OWN_TYPES: frozenset[type[Any]] = frozenset({HandlerConnection, HandlerSession, SyncHandlerSession, Delivery})
_TRANSACTIONAL: frozenset[type[Any]] = frozenset({HandlerConnection, HandlerSession, SyncHandlerSession})


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
        self.transactional = not _TRANSACTIONAL.isdisjoint(wants)
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

    ``reads`` is the newest version that it can be given in this process.
    """

    number: int
    ordered: bool
    handler: Handler | None
    started_after: Snapshot | None
    reads: int


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
        return [HandlerRow(d.id, d.selects, d.ordered, d.on_dead, d.was, d.start) for d in declarations]


def _taker(row: KnownHandler, handler: Handler | None) -> Taker:
    return Taker(row.id, row.ordered, handler, row.started_after, handler.reads if handler else ANY_VERSION)


def compile_handlers(
    registry: Registry,
    *,
    given: frozenset[type[Any]],
    retry: Retry,
    timeout: float,
    breaker: Breaker | None = None,
    sync_sessions: bool,
    connections: bool,
    middleware: tuple[Middleware, ...] = (),
) -> list[Handler]:
    """Read and check the signature of every handler; ``given`` are types that can be injected beside our own.

    ``sync_sessions`` and ``connections`` say whether a ``SyncHandlerSession`` and a ``HandlerConnection`` can be given.
    ``middleware`` is around that of the declarations.
    """
    known = given | OWN_TYPES
    handlers = [
        _compile(each, known, retry, timeout, breaker or Breaker(), middleware) for each in registry.handlers.values()
    ]
    for handler in handlers:
        if handler.declaration.broadcast:
            _check_broadcast(handler)
        if handler.declaration.batch is not None:
            check_lists(handler, _owner(handler.declaration), given)
        _check_sessions(handler, sync_sessions=sync_sessions, connections=connections)
        _check_awaits(handler, tuple(kind for kind in given if inspect.iscoroutinefunction(kind.__call__)))
    return handlers


def _compile(
    declaration: HandlerDeclaration,
    given: frozenset[type[Any]],
    retry: Retry,
    timeout: float,
    breaker: Breaker,
    middleware: tuple[Middleware, ...],
) -> Handler:
    owner = _owner(declaration)
    signature = read_signature(declaration.function, types_for(declaration, given), owner=owner)
    check_first_parameter(declaration, owner)
    return Handler(
        declaration=declaration,
        signature=signature,
        is_async=_is_async(declaration.function),
        retry=declaration.retry or _hint_of(declaration) or retry,
        timeout=declaration.timeout or timeout,
        breaker=breaker if declaration.breaker is None else declaration.breaker or None,
        middleware=(*middleware, *declaration.middleware),
    )


def _owner(declaration: HandlerDeclaration) -> str:
    return f"handler {declaration.id!r} ({declaration.where})"


def _check_broadcast(handler: Handler) -> None:
    """Refuse what a handler that is recorded nowhere cannot be given: a transaction of its delivery's."""
    asked = [kind.__name__ for kind in _TRANSACTIONAL if kind in handler.signature.wants]
    if asked:
        raise InvalidHandler(
            f"{_owner(handler.declaration)}: takes a {asked[0]}, but with broadcast=True there is no delivery whose "
            "transaction it could be: every process calls the handler, and none records it. Leave broadcast=True out, "
            "or take a session of the application's own, by Depends(get_session), and commit it."
        )


def _check_sessions(handler: Handler, *, sync_sessions: bool, connections: bool) -> None:
    wants = handler.signature.wants

    def refuse(problem: str) -> NoReturn:
        raise InvalidHandler(f"{_owner(handler.declaration)}: {problem}")

    if SyncHandlerSession in wants:
        if HandlerSession in wants:
            refuse("takes a HandlerSession and a SyncHandlerSession, which are two transactions.")
        if HandlerConnection in wants:
            refuse("takes a HandlerConnection and a SyncHandlerSession, which are two transactions.")
        if handler.is_async:
            refuse("an async handler takes a HandlerSession, not a SyncHandlerSession.")
        if not sync_sessions:
            refuse("takes a SyncHandlerSession, but Events(sync_sessions=...) was not given.")
    for kind in (HandlerSession, HandlerConnection):
        if kind in wants and not handler.is_async:
            refuse(
                f"a def handler runs in a thread and cannot use a {kind.__name__}. Make it async def, or take a "
                "SyncHandlerSession with Events(sync_sessions=...)."
            )
    if HandlerConnection in wants and not connections:
        refuse(
            "a HandlerConnection is asyncpg's, but Events(sessions=...) are not sessions of one postgresql+asyncpg "
            "engine. Give such a session maker, or take a HandlerSession."
        )


def _check_awaits(handler: Handler, awaited: tuple[type[Any], ...]) -> None:
    """Refuse a ``def`` handler of what it cannot await; a dependency may hand it on to something that does."""
    if handler.is_async:
        return
    for name, source in handler.signature.parameters:
        gives = source.gives if isinstance(source, Dependency) else (source.type,)
        kind = next((kind for kind in awaited if any(gives_one_of(one, (kind,)) for one in gives)), None)
        if kind is not None:
            raise InvalidHandler(
                f"{_owner(handler.declaration)}: a def handler takes an {kind.__name__}, {name!r}: a call of it there "
                f"is never awaited, and the event would be lost. Make the handler async def, or take a "
                f"Sync{kind.__name__}."
            )


def _hint_of(declaration: HandlerDeclaration) -> Retry | None:
    options = declaration.event_class.__event_options__ if declaration.event_class else None
    return options.retry if options else None


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(type(function).__call__)
