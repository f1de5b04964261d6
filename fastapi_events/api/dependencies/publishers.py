"""Publishers on exactly the session that another dependency gives."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakSet

from fastapi.requests import HTTPConnection

from fastapi_events.api.dependencies.declared import Declared
from fastapi_events.api.dependencies.instance import instance_of
from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.api.request_flow import Serving
from fastapi_events.api.session_binding import bind_async, bind_sync

P = TypeVar("P", EventPublisher, SyncEventPublisher)

_publishers: dict[type[Any], WeakSet[Any]] = {
    EventPublisher: WeakSet(), SyncEventPublisher: WeakSet(), JobClient: WeakSet(),
}  # fmt: skip


def publisher_on(session: Any) -> Callable[..., Awaitable[EventPublisher]]:
    """A dependency that gives an ``EventPublisher`` on exactly the session that another dependency gives.

    ``session`` is the alias that the endpoints use (``Annotated[AsyncSession, Depends(get_session)]``), a
    ``Depends(...)``, or the dependency itself, if its scope is FastAPI's default. The publisher lives as long as that
    session does, and an override of the session's dependency holds for the publisher too::

        Publisher = Annotated[EventPublisher, Depends(publisher_on(SessionDep))]

    Raises ``DeclarationError`` for anything else, and for a session that is not shared (``use_cache=False``).
    """
    return _publisher_dependency(Declared.of(session, "publisher_on"), bind_async, EventPublisher)


def sync_publisher_on(session: Any) -> Callable[..., Awaitable[SyncEventPublisher]]:
    """As ``publisher_on``, for plain sessions in ``def`` endpoints: gives a ``SyncEventPublisher``."""
    return _publisher_dependency(Declared.of(session, "sync_publisher_on"), bind_sync, SyncEventPublisher)


def publisher_kind(dependency: object) -> type[Any] | None:
    """What a dependency that was made here gives; None for any other."""
    return next((kind for kind, made in _publishers.items() if dependency in made), None)


def made_for(dependency: Any, kind: type[Any]) -> None:
    """Note what a dependency gives, so that routes can be checked and handlers can be told."""
    _publishers[kind].add(dependency)
    for_endpoints_only(dependency, kind)


def for_endpoints_only(dependency: Any, instead: type[Any]) -> None:
    """Note what a handler, which has no request, is to take in place of a dependency; its error says so."""
    dependency.fastapi_events_in_handlers = instead.__name__


def _publisher_dependency(declared: Declared, bind: Callable[..., P], kind: type[P]) -> Callable[..., Awaitable[P]]:
    description = f"a publisher bound to the session of {declared.name}"

    async def publisher(connection: HTTPConnection, session: Any) -> P:
        bound = bind(instance_of(connection).publishing, session, endpoint=connection.scope.get("endpoint"))
        Serving(connection, session, description).begin()
        return bound

    # FastAPI shares a dependency per callable and scope: this is the user's own, so it is the endpoint's own session.
    # The publisher has neither end nor scope: it may depend on a session of any scope, and costs half of one with.
    sign(publisher, connection=HTTPConnection, session=declared.annotation)
    made_for(publisher, kind)
    return publisher


def sign(function: Callable[..., Any], **parameters: Any) -> None:
    """Give a function the signature that FastAPI is to read."""
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [inspect.Parameter(name, kind, annotation=type_) for name, type_ in parameters.items()]
    )
    function.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature
