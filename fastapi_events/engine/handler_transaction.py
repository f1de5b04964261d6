"""The transaction of a delivery: the mark first, then the handler's effects and events, then one commit.

With asyncpg it lives on a kept connection (``kept_transaction``); every other driver takes the plain way, through the
session.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool, StaticPool

from fastapi_events.engine.handler_session import OwnedSession, handler_session_class
from fastapi_events.engine.infrastructure import NoConnection, describe
from fastapi_events.engine.isolation import check_level
from fastapi_events.engine.kept_transaction import KeptTransactions
from fastapi_events.engine.transaction_guard import TransactionGuard
from fastapi_events.store.clauses import clause
from fastapi_events.store.marks import Marks, MarkStore

logger = logging.getLogger("fastapi_events")


class Transaction(Protocol):
    """One delivery's transaction: ``session`` if it was asked for, ``driver`` where it is asyncpg's."""

    session: Any
    driver: Any

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float, replay: UUID | None) -> bool:
        """Begin and take the mark; False if another attempt has had it. ``timeout``: the handler's, in seconds."""
        ...

    async def begin_list(
        self, handler: int, marks: Sequence[tuple[UUID, int]], timeout: float, replay: UUID | None
    ) -> set[UUID]:
        """Begin and take several marks, given with their events' positions; returns the keys of those it got."""
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


class FencedTransaction(Transaction, Protocol):
    """One that takes no mark: a statement of the library's, run in it at its end, says whether it may commit."""

    async def begin_unmarked(self, timeout: float) -> None:
        """Begin; ``timeout``: that of whoever works in it, in seconds."""
        ...

    async def execute(self, statement: str, *arguments: str) -> list[Any]:
        """Run a statement, behind everything that the session has not flushed yet; its parameters are texts."""
        ...


class FencedTransactions(Protocol):
    """Makes such transactions."""

    async def open(self, *, session: bool = True) -> FencedTransaction:
        """A transaction, with a fresh session if it is wanted; nothing has been sent."""
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

    def __init__(self, session: Any, marks: Marks) -> None:
        self.session, self._marks = session, marks
        self._connection: AsyncConnection | None = None
        self._guard: TransactionGuard | None = None

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float, replay: UUID | None) -> bool:
        connection = await self._connect(timeout)
        taken = await self._marks.take(connection, handler, mark, position, replay)
        self._guard = _guard(connection.sync_connection)
        return taken

    async def begin_list(
        self, handler: int, marks: Sequence[tuple[UUID, int]], timeout: float, replay: UUID | None
    ) -> set[UUID]:
        connection = await self._connect(timeout)
        taken = await self._marks.take_list(connection, handler, marks, replay)
        self._guard = _guard(connection.sync_connection)
        return taken

    async def begin_unmarked(self, timeout: float) -> None:
        connection = await self._connect(timeout)
        if connection.dialect.name == "postgresql":
            check_level(await connection.run_sync(Connection.get_isolation_level))
        self._guard = _guard(connection.sync_connection)

    async def execute(self, statement: str, *arguments: Any) -> list[Any]:
        await self.session.flush()
        if self._connection is None:
            return []
        names = [f"p{number}" for number in range(1, len(arguments) + 1)]
        given = dict(zip(names, arguments, strict=True))
        return list((await self._connection.execute(clause(statement, *names), given)).mappings())

    async def _connect(self, timeout: float) -> AsyncConnection:
        try:
            connection: AsyncConnection = await self.session.connection()
        except Exception as error:
            raise NoConnection(describe(error)) from error
        self._connection = connection
        await self._marks.limit(connection, timeout)
        return connection

    async def commit(self) -> None:
        if self._guard is not None and self._connection is not None:
            self._guard.check(self.session)
            await self.session.flush()
            # A driver may answer COMMIT of a failed transaction with a silent ROLLBACK; this fails aloud.
            await self._marks.probe(self._connection)
            self._guard.release()
        await self.session.run_sync(OwnedSession.commit_delivery)

    async def end(self, _error: BaseException | None, /) -> None:
        self._connection = None
        if self._guard is not None:
            self._guard.release()
        await self.session.run_sync(OwnedSession.end_delivery)
        if self._guard is not None:
            self._guard.stop()

    def cut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.sync_connection is not None:
            driver = getattr(connection.sync_connection.connection, "driver_connection", None)
            if (terminate := getattr(driver, "terminate", None)) is not None:
                terminate()


class SyncLine:
    """The transaction of a ``def`` handler, whose mark has been taken; another thread may cut its line to the server.

    Made in the handler's thread and context. With ``marks`` it is guarded and ended by ``commit``.
    """

    def __init__(self, session: Session, marks: Marks | None = None) -> None:
        connection = session.connection()
        self._driver: Any = connection.connection.driver_connection
        self._session, self._marks = session, marks
        self._guard = _guard(connection) if marks is not None else None

    def commit(self) -> None:
        """Flush and commit effects, events and mark; raises if any of it cannot be."""
        session: Any = self._session
        if self._guard is not None and self._marks is not None:
            self._guard.check(session)
            session.flush()
            self._marks.probe_sync(session)
            self._guard.release()
        session.commit_delivery()

    def cut(self) -> None:
        """Shut the socket down: the server rolls back, though the thread itself cannot be stopped."""
        fileno = getattr(self._driver, "fileno", None)
        if fileno is not None:
            with contextlib.suppress(Exception), socket.socket(fileno=os.dup(fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


def connect(session: Session) -> None:
    """Have the session take its connection; raises ``NoConnection`` if it cannot."""
    try:
        session.connection()
    except Exception as error:
        raise NoConnection(describe(error)) from error


class PlainTransactions:
    """Makes ``PlainTransaction`` objects from the application's session maker."""

    def __init__(self, make_session: Callable[[], Any], marks: Marks) -> None:
        self._make_session, self._marks = make_session, marks

    async def open(self, *, session: bool = True) -> PlainTransaction:  # noqa: ARG002 - there is no other way here
        return PlainTransaction(self._make_session(), self._marks)

    async def close(self) -> None:
        return


def transactions_for(sessions: Any, kind: type[Any], marks: MarkStore) -> PlainTransactions | KeptTransactions:
    """The fastest way that the application's session maker allows; ``kind`` is the class of the sessions to make."""
    options = session_options(sessions)
    engine = asyncpg_engine(sessions)
    if engine is None:
        return PlainTransactions(lambda: kind(**options), marks)
    del options["bind"]
    return KeptTransactions(
        engine, lambda connection: kind(bind=connection, **options), marks, options.get("execution_options")
    )


def session_options(sessions: Any) -> dict[str, Any]:
    """What handlers' sessions are made with, to be like those of the application's session maker."""
    options = {name: value for name, value in sessions.kw.items() if name != "close_resets_only"}
    if (inner := options.get("sync_session_class")) is not None:
        options["sync_session_class"] = handler_session_class(inner, OwnedSession)
    return options


def asyncpg_engine(sessions: Any) -> AsyncEngine | None:
    """The one engine that a session maker's sessions work on, if its driver is asyncpg.

    Sessions that choose among databases, or ask for a transaction of another kind than their engine's, have none.
    """
    options = sessions.kw
    bind = options.get("bind")
    inner = options.get("sync_session_class") or sessions.class_.sync_session_class
    plain = (
        "binds" in options
        or options.get("twophase")
        or "isolation_level" in (options.get("execution_options") or {})
        or inner.get_bind is not Session.get_bind
    )
    return bind if isinstance(bind, AsyncEngine) and bind.dialect.driver == "asyncpg" and not plain else None


def within_pools(wanted: int, *makers: Any) -> int:
    """How many transactions of handlers can run at once on the pools of session makers; warns if fewer than wanted.

    More would wait inside the pool until it gives up, and count as failures of the infrastructure. Pools without a
    bound, and makers that are None, set no limit.
    """
    limits = [limit for maker in makers if (limit := _pool_limit(maker)) is not None]
    limit = min([wanted, *limits])
    if limit < wanted:
        logger.warning(
            "EVENTS_HANDLER_CONNECTIONS is %d, but the pool of the application's engine has room for %d connections "
            "(pool_size + max_overflow), which requests need too. At most %d handlers with a session run at once; make "
            "the pool larger, or set EVENTS_HANDLER_CONNECTIONS below its size.", wanted, limit, limit,
        )  # fmt: skip
    return limit


def _pool_limit(maker: Any) -> int | None:
    bind = getattr(maker, "kw", {}).get("bind")
    pool = getattr(bind, "pool", None)
    if isinstance(pool, StaticPool):
        return 1
    if not isinstance(pool, QueuePool):
        return None
    # SQLAlchemy tells the size, but the overflow in no documented way.
    size, overflow = pool.size(), getattr(pool, "_max_overflow", -1)
    return None if size == 0 or overflow < 0 else size + overflow


def _guard(connection: Any) -> TransactionGuard:
    guard = TransactionGuard(connection, connection.connection.driver_connection)
    guard.start(begun=True)
    return guard
