"""A delivery's transaction on a connection that is kept between deliveries: the fast way, with asyncpg.

The mark travels together with BEGIN, on connections that are checked out of the application's own pool, put into
SQLAlchemy's AUTOCOMMIT mode so that SQLAlchemy sends no BEGIN of its own, and whose documented ``commit`` and
``rollback`` events send ours. That halves the cost of a transaction of one INSERT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.errors import TransactionAborted
from fastapi_events.store.marks import MarkStore

IDLE = 1.0
"""Seconds that an unused connection is kept before the application's pool has it back."""


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

    __slots__ = ("_kept", "_marks", "_pool", "driver", "session")

    def __init__(self, pool: KeptTransactions, kept: KeptConnection, session: Any, marks: MarkStore) -> None:
        self._pool, self._kept, self.session, self._marks = pool, kept, session, marks
        self.driver: Any = kept.driver

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float) -> bool:
        begin = self._marks.literal_begin(self._kept.level, timeout)
        status: str = await self.driver.execute(begin + self._marks.literal_take(handler, mark, position))
        return status.endswith(" 1")

    async def commit(self) -> None:
        if self.session is not None:
            await self.session.run_sync(_commit_and_close)
        if self.driver.is_in_transaction():
            # There is no session, or the handler sent no statement through it, so that it had nothing to commit.
            check_committed(await self.driver.execute("COMMIT"))

    async def end(self, error: BaseException | None, /) -> None:
        kept, driver = self._kept, self.driver
        try:
            if error is not None or driver.is_in_transaction():
                if not isinstance(error, Exception | None) or driver.is_closed():
                    return await self._pool.drop(kept)
                if self.session is not None:
                    await AsyncSession.close(self.session)
                if driver.is_in_transaction():
                    await driver.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - whatever state it is in, nobody else shall meet it
            return await self._pool.drop(kept)
        self._pool.give_back(kept)
        return None

    def cut(self) -> None:
        self.driver.terminate()


class KeptTransactions:
    """Keeps up to as many connections as transactions run at once; idle ones return to the application's pool."""

    def __init__(self, engine: AsyncEngine, make_session: Callable[[AsyncConnection], Any], marks: MarkStore) -> None:
        self._engine, self._make_session, self._marks = engine, make_session, marks
        self._free: list[KeptConnection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self, *, session: bool = True) -> KeptTransaction:
        """A transaction on a connection that is free, or on one more of the application's pool."""
        kept = self._free.pop() if self._free else await self._check_out()
        while kept.driver.is_closed():
            await self.drop(kept)
            kept = self._free.pop() if self._free else await self._check_out()
        return KeptTransaction(self, kept, self._make_session(kept.connection) if session else None, self._marks)

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
        """Give every connection back."""
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
