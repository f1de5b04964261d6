"""The transaction of a delivery: the mark first, then the handler's effects and events, then one commit.

With asyncpg the mark travels together with BEGIN, on connections that are kept between deliveries: each is checked out
of the application's own pool, put into SQLAlchemy's AUTOCOMMIT mode so that SQLAlchemy sends no BEGIN of its own, and
its documented ``commit`` and ``rollback`` events send ours. That halves the cost of a transaction of one INSERT. Every
other driver takes the plain way through the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.errors import TransactionAborted
from fastapi_events.store.marks import MarkStore

IDLE = 1.0
"""Seconds that an unused connection is kept before the application's pool has it back."""


class Transaction(Protocol):
    """One delivery's transaction."""

    session: Any

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

    async def open(self) -> Transaction:
        """A transaction with a fresh session; nothing has been sent."""
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...


class PlainTransaction:
    """Through the session alone: any driver, any binding."""

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

    async def open(self) -> PlainTransaction:
        return PlainTransaction(self._make_session(), self._marks)

    async def close(self) -> None:
        return


class KeptConnection:
    """A connection of the application's pool that serves one delivery after the other."""

    def __init__(self, connection: AsyncConnection, driver: asyncpg.Connection[Any], level: str) -> None:
        self.connection, self.driver, self.level = connection, driver, level
        self.idle_since = 0.0
        event.listen(connection.sync_connection, "commit", self._commit)
        event.listen(connection.sync_connection, "rollback", self._roll_back)

    def _commit(self, connection: Connection) -> None:
        check_committed(_send(connection, "COMMIT"))

    def _roll_back(self, connection: Connection) -> None:
        if self.driver.is_in_transaction() and not self.driver.is_closed():
            _send(connection, "ROLLBACK")


class KeptTransaction:
    """A delivery's transaction on a kept connection."""

    def __init__(self, pool: KeptTransactions, kept: KeptConnection, session: Any, marks: MarkStore) -> None:
        self._pool, self._kept, self.session, self._marks = pool, kept, session, marks

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float) -> bool:
        begin = self._marks.literal_begin(self._kept.level, timeout)
        status = await self._kept.driver.execute(begin + self._marks.literal_take(handler, mark, position))
        return status.endswith(" 1")

    async def commit(self) -> None:
        await self.session.run_sync(_commit_and_close)
        if self._kept.driver.is_in_transaction():
            # The handler sent no statement, so that the session had nothing to commit.
            check_committed(await self._kept.driver.execute("COMMIT"))

    async def end(self, error: BaseException | None, /) -> None:
        kept, driver = self._kept, self._kept.driver
        try:
            if error is not None or driver.is_in_transaction():
                if not isinstance(error, Exception | None) or driver.is_closed():
                    return await self._pool.drop(kept)
                await AsyncSession.close(self.session)
                if driver.is_in_transaction():
                    await driver.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - whatever state it is in, nobody else shall meet it
            return await self._pool.drop(kept)
        self._pool.give_back(kept)
        return None

    def cut(self) -> None:
        self._kept.driver.terminate()


class KeptTransactions:
    """Keeps up to as many connections as transactions run at once; idle ones return to the application's pool."""

    def __init__(self, engine: AsyncEngine, make_session: Callable[[AsyncConnection], Any], marks: MarkStore) -> None:
        self._engine, self._make_session, self._marks = engine, make_session, marks
        self._free: list[KeptConnection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self) -> KeptTransaction:
        kept = self._free.pop() if self._free else await self._check_out()
        while kept.driver.is_closed():
            await self.drop(kept)
            kept = self._free.pop() if self._free else await self._check_out()
        return KeptTransaction(self, kept, self._make_session(kept.connection), self._marks)

    def give_back(self, kept: KeptConnection) -> None:
        """Keep a connection for the next delivery."""
        loop = asyncio.get_running_loop()
        kept.idle_since = loop.time()
        self._free.append(kept)
        if self._timer is None:
            self._timer = loop.call_later(IDLE, self._return_idle)

    async def drop(self, kept: KeptConnection) -> None:
        """Part with a connection that may be in any state."""
        kept.driver.terminate()
        if not kept.connection.closed:  # the session may have closed it over the same failure
            await kept.connection.invalidate()
            await kept.connection.close()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        free, self._free = self._free, []
        for kept in free:
            await kept.connection.close()
        if self._returning:
            await asyncio.wait(list(self._returning), timeout=2)

    async def _check_out(self) -> KeptConnection:
        connection = await self._engine.connect()
        try:
            level = await connection.run_sync(Connection.get_isolation_level)
            await connection.rollback()
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            raw = await connection.get_raw_connection()
        except BaseException:
            await connection.close()
            raise
        driver: Any = raw.driver_connection
        return KeptConnection(connection, driver, level)

    def _return_idle(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        before = loop.time() - IDLE
        idle = [kept for kept in self._free if kept.idle_since <= before]
        self._free = [kept for kept in self._free if kept.idle_since > before]
        for kept in idle:
            task = loop.create_task(kept.connection.close())
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
        if self._free:
            self._timer = loop.call_later(IDLE, self._return_idle)


def transactions_for(sessions: Any, kind: type[Any], marks: MarkStore) -> Transactions:
    """The fastest way that the application's session maker allows; ``kind`` is the class of the sessions to make."""
    options = dict(sessions.kw)
    bind = options.pop("bind", None)
    if isinstance(bind, AsyncEngine) and bind.dialect.driver == "asyncpg" and "binds" not in options:
        return KeptTransactions(bind, lambda connection: kind(bind=connection, **options), marks)
    return PlainTransactions(lambda: kind(**sessions.kw), marks)


def check_committed(status: str) -> None:
    """Raise unless COMMIT was answered by COMMIT: a failed transaction is rolled back instead, without an error."""
    if status != "COMMIT":
        raise TransactionAborted(
            "The handler went on after a database error, so that its transaction could only be rolled back. Let the "
            "error out of the handler, or run statements that may fail inside session.begin_nested()."
        )


def _send(connection: Connection, command: str) -> str:
    """Send a command on the driver's own connection, from within SQLAlchemy's events."""

    async def send(driver: asyncpg.Connection[Any]) -> str:
        return await driver.execute(command)

    adapted: Any = connection.connection.dbapi_connection
    status: str = adapted.run_async(send)
    return status


def _commit_and_close(session: Session) -> None:
    session.commit()
    session.close()
