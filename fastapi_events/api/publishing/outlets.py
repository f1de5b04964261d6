"""Where sealed events go: a session's buffer, or a connection's open transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.publishing import session_hooks
from fastapi_events.api.publishing.append import append_on
from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.cancel import cancel_on
from fastapi_events.api.publishing.closing import this_task
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.api.publishing.session_events import bind_events
from fastapi_events.api.publishing.wake_after import wake_after
from fastapi_events.errors import SessionClosed
from fastapi_events.model.run_start import Sealed


class SyncOutlet(Protocol):
    """Takes events by plain calls."""

    def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        """Take events, in order; says of each whether it is a duplicate."""
        ...

    def cancel(self, event_id: UUID, /) -> bool:
        """Take a scheduled event back; says whether it was there."""
        ...


class Outlet(Protocol):
    """Takes events on an event loop."""

    async def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        """Take events, in order; says of each whether it is a duplicate."""
        ...

    async def cancel(self, event_id: UUID, /) -> bool:
        """Take a scheduled event back; says whether it was there."""
        ...


class SessionOutlet:
    """Into a session: buffered until its root commit, unless the answer is needed at once."""

    __slots__ = ("_events", "_session")

    def __init__(self, port: PublishingPort, session: Session) -> None:
        session_hooks.install()
        self._session, self._events = session, bind_events(session, port)

    def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        return self._events.publish(self._session, envelopes, site)

    def cancel(self, event_id: UUID, /) -> bool:
        return self._events.cancel(self._session, event_id)


class AsyncSessionOutlet:
    """Into the session under an ``AsyncSession``; only what needs SQL at once leaves the caller's coroutine."""

    __slots__ = ("_events", "_inner", "_session")

    def __init__(self, port: PublishingPort, session: AsyncSession) -> None:
        session_hooks.install()
        self._session, self._inner = session, session.sync_session
        self._events = bind_events(self._inner, port)
        self._events.task = this_task()

    async def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        if self._events.needs_sql(envelopes):
            return await self._session.run_sync(self._events.publish, envelopes, site)
        return self._events.buffered(self._inner, envelopes, site)

    async def cancel(self, event_id: UUID, /) -> bool:
        return await self._session.run_sync(self._events.cancel, event_id)


class ConnectionOutlet:
    """Onto a SQLAlchemy ``Connection``, at once: it has no unit of work, and savepoints do the rest."""

    def __init__(self, port: PublishingPort, connection: Connection) -> None:
        self._port, self._connection = port, connection

    def put(self, envelopes: Sequence[Sealed], _site: Site, /) -> list[bool]:
        connection = self._opened()
        duplicates = append_on(connection, self._port, envelopes)
        fresh = zip(envelopes, duplicates, strict=True)
        wake_after(connection, self._port, {envelope.place for envelope, duplicate in fresh if not duplicate})
        return duplicates

    def cancel(self, event_id: UUID, /) -> bool:
        return cancel_on(self._opened(), self._port, event_id)

    def _opened(self) -> Connection:
        if self._connection.closed:
            raise SessionClosed("This connection has been closed. Publish before the end of its `with` block.")
        return self._connection


class AsyncConnectionOutlet:
    """Onto an ``AsyncConnection``, at once."""

    def __init__(self, port: PublishingPort, connection: AsyncConnection) -> None:
        self._port, self._connection = port, connection

    async def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        opened = self._opened()
        return await opened.run_sync(lambda inner: ConnectionOutlet(self._port, inner).put(envelopes, site))

    async def cancel(self, event_id: UUID, /) -> bool:
        return await self._opened().run_sync(lambda inner: ConnectionOutlet(self._port, inner).cancel(event_id))

    def _opened(self) -> AsyncConnection:
        if self._connection.closed:
            raise SessionClosed("This connection has been closed. Publish before the end of its `async with` block.")
        return self._connection


class PlainOutlet:
    """A sync outlet behind awaitable calls, for a plain session that is used on the event loop."""

    def __init__(self, inner: SyncOutlet) -> None:
        self._inner = inner

    async def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        return self._inner.put(envelopes, site)

    async def cancel(self, event_id: UUID, /) -> bool:
        return self._inner.cancel(event_id)
