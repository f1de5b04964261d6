"""Binding publishers: to an ``AsyncSession``, a ``Session``, a connection of SQLAlchemy's, or one of asyncpg's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Unpack, cast
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.api.publishing.asyncpg_outlet import AsyncpgOutlet, is_usable
from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.options import TypedKeywords
from fastapi_events.api.publishing.outlets import (
    AsyncConnectionOutlet,
    AsyncSessionOutlet,
    ConnectionOutlet,
    Outlet,
    PlainOutlet,
    SessionOutlet,
    SyncOutlet,
)
from fastapi_events.api.publishing.port import Published, PublishingPort
from fastapi_events.api.publishing.session_events import events_of
from fastapi_events.errors import DetachedPublish, PublishError
from fastapi_events.model.context import bound_by
from fastapi_events.model.event import Event
from fastapi_events.model.onion import PublishOnion
from fastapi_events.model.run_start import Sealed

if TYPE_CHECKING:
    # asyncpg's classes are generic for type checkers alone.
    Bindable = (
        AsyncSession
        | async_scoped_session[Any]
        | AsyncConnection
        | Session
        | scoped_session[Any]
        | Connection
        | asyncpg.Connection[Any]
        | PoolConnectionProxy[Any]
    )


def bind_async(
    port: PublishingPort,
    session: Bindable,
    *,
    derive_id: Callable[[], UUID] | None = None,
    endpoint: Any = None,
    middleware: PublishOnion | None = None,
) -> EventPublisher:
    """A publisher for the event loop, bound to any ``Bindable``.

    ``derive_id`` makes the ids of events that are published without one. ``endpoint`` is the function that the
    publisher is made for, to be named where a task calls it. ``middleware`` is around it in place of the port's. Raises
    ``PublishError`` for anything else.
    """
    outlet = outlet_on(port, session)
    return EventPublisher(port, outlet, derive_id=derive_id, endpoint=endpoint, middleware=middleware)


def bind_sync(
    port: PublishingPort,
    session: Session | scoped_session[Any] | Connection,
    *,
    derive_id: Callable[[], UUID] | None = None,
    endpoint: Any = None,
    middleware: PublishOnion | None = None,
) -> SyncEventPublisher:
    """A publisher of plain calls, bound to a ``Session`` or ``Connection``, also to the one under an async session.

    Raises ``PublishError`` for anything else.
    """
    outlet = _sync_outlet(port, session)
    if outlet is None:
        raise PublishError(
            f"A sync publisher needs a plain Session or Connection of SQLAlchemy's, not {_shown(session)}. Bind "
            "EventPublisher to an async one, or pass its sync_session in a hook."
        )
    return SyncEventPublisher(port, outlet, derive_id=derive_id, endpoint=endpoint, middleware=middleware)


def bind_jobs(port: PublishingPort, session: Bindable, *, endpoint: Any = None) -> JobClient:
    """What starts jobs, bound to any ``Bindable``; raises ``PublishError`` for anything else."""
    return JobClient(port, outlet_on(port, session), endpoint=endpoint)


class OwnTransactions:
    """An outlet that puts what it is given into a transaction of its own, at once: on a session, or by ``alone``."""

    def __init__(
        self, port: PublishingPort, open_session: Callable[[], AbstractAsyncContextManager[AsyncSession]],
        alone: Outlet | None = None,
    ) -> None:  # fmt: skip
        self._port, self._open, self._alone = port, open_session, alone

    async def put(self, sealed: Sequence[Sealed], site: Site, /) -> list[bool]:
        """Commit them."""
        owner = bound_by()
        if owner is not None:
            raise DetachedPublish(
                f"events.jobs.start({sealed[0].name}, ...) while {owner} is active: the run would be there whatever "
                "becomes of that transaction. Take jobs: Jobs (in a handler or a job, jobs: JobClient)."
            )
        if self._alone is not None:
            return await self._alone.put(sealed, site)
        async with self._open() as own:
            answers = await outlet_on(self._port, own).put(sealed, site)
            await own.commit()
        return answers

    async def cancel(self, event_id: UUID, /) -> bool:
        """Take a scheduled event back."""
        if self._alone is not None:
            return await self._alone.cancel(event_id)
        async with self._open() as own:
            found = await outlet_on(self._port, own).cancel(event_id)
            await own.commit()
        return found


async def publish_detached(
    port: PublishingPort,
    event: Event,
    open_session: Callable[[], AbstractAsyncContextManager[AsyncSession]],
    *,
    detached: bool = False,
    **options: Unpack[TypedKeywords],
) -> Published:
    """Publish outside a request, in a transaction of its own that ``open_session`` gives.

    Raises ``DetachedPublish`` where a bound publisher or a handler is active: the event would not commit with that
    transaction. ``detached=True`` says that this is wanted.
    """
    check_detached(event, detached=detached)
    async with open_session() as own:
        published = await bind_async(port, own)(event, **options)
        await own.commit()
    return published


def check_detached(event: Event, *, detached: bool) -> None:
    """Raise ``DetachedPublish`` where a bound publisher or a handler is active, unless that is wanted."""
    owner = bound_by()
    if owner is not None and not detached:
        raise DetachedPublish(
            f"events.publish({type(event).__name__}(...)) without a session, while {owner} is active: the event would "
            "commit by itself, whatever becomes of that transaction. Use its publisher (a handler adds the parameter "
            "publish: EventPublisher), pass session=, or say detached=True to publish the event in any case."
        )


def is_open(session: object) -> bool:
    """Whether an event that is published on this session now has, or begins, a transaction to commit with."""
    if isinstance(session, AsyncSession):
        session = session.sync_session
    if isinstance(session, Session):
        events = events_of(session)
        return events is not None and events.is_open(session)
    if isinstance(session, (asyncpg.Connection, PoolConnectionProxy)):
        return is_usable(session)
    return not getattr(session, "closed", False)


def outlet_on(port: PublishingPort, session: object) -> Outlet:
    """Where what is sealed goes that is bound to any ``Bindable``; raises ``PublishError`` for anything else."""
    if isinstance(session, AsyncSession):
        return AsyncSessionOutlet(port, session)
    if isinstance(session, async_scoped_session):
        return outlet_on(port, cast("Any", session)())
    if isinstance(session, AsyncConnection):
        return AsyncConnectionOutlet(port, session)
    if isinstance(session, (asyncpg.Connection, PoolConnectionProxy)):
        return AsyncpgOutlet(port, session)
    plain = _sync_outlet(port, session)
    if plain is None:
        raise PublishError(
            f"An event is published on an AsyncSession, a Session, a Connection or AsyncConnection of SQLAlchemy's, or "
            f"an asyncpg connection, not on {_shown(session)}. Pass the session that your rows are in."
        )
    return PlainOutlet(plain)


def _sync_outlet(port: PublishingPort, session: object) -> SyncOutlet | None:
    if isinstance(session, scoped_session):
        return _sync_outlet(port, cast("Any", session)())
    if isinstance(session, Session):
        return SessionOutlet(port, session)
    if isinstance(session, Connection):
        return ConnectionOutlet(port, session)
    return None


def _shown(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"a {type(value).__qualname__}"
