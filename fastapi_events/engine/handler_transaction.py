"""The transaction of a delivery: the mark first, then the handler's effects and events, then one commit.

With asyncpg it lives on a kept connection (``kept_transaction``); every other driver takes the plain way, through the
session.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.engine.kept_transaction import KeptTransactions
from fastapi_events.store.marks import MarkStore


class Transaction(Protocol):
    """One delivery's transaction: ``session`` if it was asked for, ``driver`` where it is asyncpg's."""

    session: Any
    driver: Any

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float) -> bool:
        """Begin and take the mark; False if another attempt has had it. ``timeout``: the handler's, in seconds."""
        ...

    async def commit(self) -> None:
        """Flush and commit effects, events and mark; raises if any of it cannot be."""
        ...

    async def end(self, error: BaseException | None, /) -> None:
        """Roll back what was not committed, and give the connection back. Never raises."""
        ...

    def cut(self) -> None:
        """Cut the line to the server, which then rolls back: the attempt was given up."""
        ...


class Transactions(Protocol):
    """Makes transactions."""

    async def open(self, *, session: bool = True) -> Transaction:
        """A transaction, with a fresh session if it is wanted; nothing has been sent."""
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...


class PlainTransaction:
    """Through the session alone: any driver, any binding."""

    driver = None

    def __init__(self, session: Any, marks: MarkStore) -> None:
        self.session, self._marks = session, marks
        self._connection: AsyncConnection | None = None

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float) -> bool:
        connection = self._connection = await self.session.connection()
        await self._marks.limit(connection, timeout)
        return await self._marks.take(connection, handler, mark, position)

    async def commit(self) -> None:
        await self.session.flush()
        if self._connection is not None:
            # A driver may answer COMMIT of a failed transaction with a silent ROLLBACK; this fails aloud.
            await self._marks.probe(self._connection)
        await AsyncSession.commit(self.session)

    async def end(self, _error: BaseException | None, /) -> None:
        self._connection = None
        await AsyncSession.close(self.session)

    def cut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.sync_connection is not None:
            driver = getattr(connection.sync_connection.connection, "driver_connection", None)
            if (terminate := getattr(driver, "terminate", None)) is not None:
                terminate()


class SyncLine:
    """The line to the server of a ``def`` handler's transaction, which another thread may cut."""

    def __init__(self, session: Session) -> None:
        self._driver: Any = session.connection().connection.driver_connection

    def cut(self) -> None:
        """Shut the socket down: the server rolls back, though the thread itself cannot be stopped."""
        fileno = getattr(self._driver, "fileno", None)
        if fileno is not None:
            with contextlib.suppress(Exception), socket.socket(fileno=os.dup(fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


class PlainTransactions:
    """Makes ``PlainTransaction`` objects from the application's session maker."""

    def __init__(self, make_session: Callable[[], Any], marks: MarkStore) -> None:
        self._make_session, self._marks = make_session, marks

    async def open(self, *, session: bool = True) -> PlainTransaction:  # noqa: ARG002 - there is no other way here
        return PlainTransaction(self._make_session(), self._marks)

    async def close(self) -> None:
        return


def transactions_for(sessions: Any, kind: type[Any], marks: MarkStore) -> Transactions:
    """The fastest way that the application's session maker allows; ``kind`` is the class of the sessions to make."""
    engine = asyncpg_engine(sessions)
    if engine is None:
        return PlainTransactions(lambda: kind(**sessions.kw), marks)
    options = {name: value for name, value in sessions.kw.items() if name != "bind"}
    return KeptTransactions(engine, lambda connection: kind(bind=connection, **options), marks)


def asyncpg_engine(sessions: Any) -> AsyncEngine | None:
    """The one engine that a session maker's sessions work on, if its driver is asyncpg."""
    bind = sessions.kw.get("bind")
    one = isinstance(bind, AsyncEngine) and bind.dialect.driver == "asyncpg" and "binds" not in sessions.kw
    return bind if one else None
