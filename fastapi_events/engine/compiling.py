"""From declarations to handlers that can run: signatures are read, and what could never work is refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
from fastapi_events.engine.handlers import TRANSACTIONAL, Handler
from fastapi_events.engine.injection import Dependency, gives_one_of, read_signature
from fastapi_events.engine.list_handlers import check_first_parameter, check_lists, types_for
from fastapi_events.errors import InvalidHandler
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.module import HandlerDeclaration
from fastapi_events.model.registry import Registry
from fastapi_events.model.retry import Retry

OWN_TYPES: frozenset[type[Any]] = TRANSACTIONAL | {Delivery}


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
        retry=declaration.retry or hint_of(declaration) or retry,
        timeout=declaration.timeout or timeout,
        breaker=breaker if declaration.breaker is None else declaration.breaker or None,
        middleware=(*middleware, *declaration.middleware),
    )


def _owner(declaration: HandlerDeclaration) -> str:
    return f"handler {declaration.id!r} ({declaration.where})"


def _check_broadcast(handler: Handler) -> None:
    """Refuse what a handler that is recorded nowhere cannot be given: a transaction of its delivery's."""
    asked = [kind.__name__ for kind in TRANSACTIONAL if kind in handler.signature.wants]
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


def hint_of(declaration: HandlerDeclaration) -> Retry | None:
    """The retry policy that the event's class asks for."""
    options = declaration.event_class.__event_options__ if declaration.event_class else None
    return options.retry if options else None


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(type(function).__call__)
