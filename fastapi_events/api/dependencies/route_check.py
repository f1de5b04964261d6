"""Finding endpoints whose event would silently leave the transaction of their rows, or never be published."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi.routing import Mount, iter_route_contexts
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.dependencies.publishers import publisher_kind
from fastapi_events.api.dependencies.ready_made import (
    library_session,
    library_sync_session,
    ready_jobs,
    ready_publisher,
    ready_sync_publisher,
)
from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher
from fastapi_events.engine.injection import gives_one_of
from fastapi_events.errors import DeclarationError

_SESSIONS = (AsyncSession, Session, AsyncConnection, Connection)
_PUBLISHERS: dict[Any, tuple[str, str, str]] = {
    ready_publisher: ("Publisher", "events", "Annotated[EventPublisher, Depends(publisher_on({0}))]"),
    ready_sync_publisher: ("SyncPublisher", "events", "Annotated[SyncEventPublisher, Depends(sync_publisher_on({0}))]"),
    ready_jobs: ("Jobs", "runs", "Annotated[JobClient, Depends(jobs_on({0}))]"),
}
_OWN: tuple[Any, ...] = (library_session, library_sync_session)


def check_routes(app: Any) -> None:
    """Refuse endpoints whose publisher and rows would be in two sessions, and such as cannot await their publisher.

    These are: the ready-made publisher beside a session from another dependency, a publisher whose session is
    declared with another scope than the endpoint's, and an ``EventPublisher`` in a ``def`` endpoint. ``app`` is a
    FastAPI application or a router. Raises ``DeclarationError`` naming the route and the mend.
    """
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, Mount):
            if getattr(context.original_route, "routes", None):
                check_routes(context.original_route)
            continue
        dependant = getattr(context, "dependant", None)
        if dependant is not None:
            route = f"{_verbs(context)} {context.path} ({_name(context.endpoint)})"
            taken = list(_taken(dependant, by=None))
            _check_awaits(dependant, route)
            _check_scopes(taken, route)
            _check_ready_made([one for one in taken if one.by not in _PUBLISHERS], route)


class _Taken(NamedTuple):
    """A dependency of an endpoint (``by`` is None), or of one of its dependencies."""

    call: Any
    scope: str
    gives_session: bool
    by: Any


def _taken(dependant: Any, by: Any) -> Iterator[_Taken]:
    hints = _hints(dependant.call)
    for inner in dependant.dependencies:
        gives = _is_session(hints.get(inner.name)) or _is_session(_hints(inner.call).get("return"))
        yield _Taken(inner.call, inner.scope or "request", gives, by)
        yield from _taken(inner, by=inner.call)


def _check_awaits(dependant: Any, route: str) -> None:
    """What a dependency does with its publisher is its own affair: it may hand it on to something that awaits."""
    if not _runs_in_a_thread(dependant.call):
        return
    hints = _hints(dependant.call)
    for inner in dependant.dependencies:
        if inner.name is None:  # of the route's dependencies=[...]: the endpoint does not see it
            continue
        if publisher_kind(inner.call) is JobClient or gives_one_of(hints.get(inner.name), (JobClient,)):
            raise DeclarationError(
                f"{route} is a def function and takes a JobClient, {inner.name!r}: a call of it there is never "
                "awaited, and the run would be lost. Write async def."
            )
        if publisher_kind(inner.call) is EventPublisher or gives_one_of(hints.get(inner.name), (EventPublisher,)):
            raise DeclarationError(
                f"{route} is a def function and takes an EventPublisher, {inner.name!r}: a call of it there is never "
                "awaited, and the event would be lost. Write async def, or take SyncPublisher (on your own plain "
                "session: Annotated[SyncEventPublisher, Depends(sync_publisher_on(SessionDep))])."
            )


def _runs_in_a_thread(call: Any) -> bool:
    """Whether an endpoint is one of plain ``def``, as FastAPI tells it."""
    while isinstance(call, functools.partial):
        call = call.func
    found = [one if inspect.isroutine(one) else type(one).__call__ for one in (call, inspect.unwrap(call))]
    return not any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in found)


def _check_scopes(taken: list[_Taken], route: str) -> None:
    """FastAPI calls a dependency once per scope."""
    for bound in taken:
        if publisher_kind(bound.by) is None:
            continue
        for other in taken:
            if other.call is bound.call and other.scope != bound.scope:
                jobs = publisher_kind(bound.by) is JobClient
                what, lost, give = ("JobClient", "run", "jobs_on") if jobs else ("publisher", "event", "publisher_on")
                raise DeclarationError(
                    f"{route} takes a {what} on a session of {_name(bound.call)} with scope {bound.scope!r} and one "
                    f"with scope {other.scope!r}: FastAPI makes two sessions, and the {lost} is in another transaction "
                    f"than the rows. Give {give} the very alias that the endpoint's parameter has."
                )


def _check_ready_made(taken: list[_Taken], route: str) -> None:
    publisher = next((_PUBLISHERS[one.call] for one in taken if one.call in _PUBLISHERS), None)
    if publisher is None:
        return
    own = any(one.call in _OWN for one in taken)
    for one in taken:
        # Beside the library's session, one that a dependency keeps to itself (to check a token, say) does no harm.
        if one.gives_session and one.call not in _OWN and (one.by is None or not own):
            name, lost, mend = publisher
            raise DeclarationError(
                f"{route} takes the ready-made {name} beside a session from {_name(one.call)}: its "
                f"{lost} would commit in a session of their own, apart from its rows. Take {mend.format('SessionDep')} "
                f"with the alias of that session, or use the ready-made SessionDep for the rows too."
            )


def _hints(call: Any) -> dict[str, Any]:
    try:
        signature = inspect.signature(call, eval_str=True)
    except (NameError, TypeError, ValueError):  # names for type checkers only, or a callable without a signature
        return {}
    hints = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return {**hints, "return": signature.return_annotation}


def _is_session(annotation: Any) -> bool:
    return gives_one_of(annotation, _SESSIONS)


def _verbs(context: Any) -> str:
    return ",".join(sorted(getattr(context, "methods", None) or ["WEBSOCKET"]))


def _name(call: Any) -> str:
    return f"{getattr(call, '__module__', '?')}.{getattr(call, '__qualname__', type(call).__qualname__)}"
