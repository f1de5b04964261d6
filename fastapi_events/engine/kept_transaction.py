"""A delivery's transaction on a connection that is kept between deliveries: the fast way, with asyncpg.

The mark travels together with BEGIN, on connections that are checked out of the application's own pool, put into
SQLAlchemy's AUTOCOMMIT mode so that SQLAlchemy sends no BEGIN of its own, and whose documented ``commit`` and
``rollback`` events send ours. That halves the cost of a transaction of one INSERT.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fastapi_events.engine.handler_session import OwnedSession
from fastapi_events.engine.infrastructure import READ_ONLY, NoConnection, describe, sqlstate_of
from fastapi_events.engine.isolation import check_level
from fastapi_events.engine.transaction_guard import TransactionGuard, check_committed, refuse
from fastapi_events.errors import HandlerSessionMisuse
from fastapi_events.store.marks import MarkStore

IDLE = 1.0
"""Seconds that an unused connection is kept before the application's pool has it back."""


class KeptConnection(TransactionGuard):
    """A connection of the application's pool that serves one delivery after the other."""

    def __init__(self, connection: AsyncConnection, driver: asyncpg.Connection[Any], level: str) -> None:
        self.connection, self.driver, self.level = connection, driver, level
        plain = connection.sync_connection
        if plain is None:
            raise TypeError("a connection that is not open cannot be kept")
        self._plain: Connection = plain
        self._options = self._plain.get_execution_options()
        self.idle_since = 0.0
        super().__init__(self._plain, driver)
        event.listen(self._plain, "set_connection_execution_options", self._before_options)

    @property
    def is_open(self) -> bool:
        """Whether it can still be talked to: a closed one is its pool's, and perhaps somebody else's by now."""
        return not self._plain.closed and not self._plain.invalidated and not self.driver.is_closed()

    @property
    def is_fit(self) -> bool:
        """Whether the next delivery finds it as this one did."""
        return (
            self.is_open
            and not self.driver.is_in_transaction()
            and not self._plain.in_transaction()
            and self._plain.get_execution_options() is self._options
        )

    def _commit(self, connection: Connection) -> None:
        try:
            super()._commit(connection)
        except HandlerSessionMisuse:
            self._roll_back(connection)  # so that it is in no transaction, wherever it goes from here
            raise
        check_committed(_send(connection, "COMMIT"))

    def _roll_back(self, connection: Connection) -> None:
        super()._roll_back(connection)
        if self.driver.is_in_transaction() and not self.driver.is_closed():
            _send(connection, "ROLLBACK")

    def _before_options(self, _: Connection, options: dict[str, Any]) -> None:
        if "isolation_level" in options:
            refuse("asked for another isolation level, which its transaction cannot have (give it to the engine)")


class KeptTransaction:
    """A delivery's transaction on a kept connection."""

    __slots__ = ("_kept", "_marks", "_pool", "driver", "session")

    def __init__(self, pool: KeptTransactions, kept: KeptConnection, session: Any, marks: MarkStore) -> None:
        self._pool, self._kept, self.session, self._marks = pool, kept, session, marks
        self.driver: Any = kept.driver

    async def begin(self, handler: int, mark: UUID, position: int, timeout: float, replay: UUID | None) -> bool:
        self._kept.start()
        begin = self._marks.literal_begin(self._kept.level, timeout)
        take = self._marks.literal_take(handler, mark, position, replay)
        status: str = await self.driver.execute(begin + take)
        return status.endswith(" 1")

    async def begin_list(
        self, handler: int, marks: Sequence[tuple[UUID, int]], timeout: float, replay: UUID | None
    ) -> set[UUID]:
        self._kept.start()
        await self.driver.execute(self._marks.literal_begin(self._kept.level, timeout))
        return await self._marks.driver_take_list(self.driver, handler, marks, replay)

    async def begin_unmarked(self, timeout: float) -> None:
        check_level(self._kept.level)
        self._kept.start()
        await self.driver.execute(self._marks.literal_begin(self._kept.level, timeout))

    async def execute(self, statement: str, *arguments: Any) -> list[Any]:
        if self.session is not None:
            await self.session.flush()
        rows: list[Any] = await self.driver.fetch(statement, *arguments)
        return rows

    async def commit(self) -> None:
        kept, session = self._kept, self.session
        kept.check(session)
        kept.release()
        if session is not None:
            await session.run_sync(OwnedSession.commit_delivery)
        if self.driver.is_in_transaction():
            # There is no session, or the handler sent no statement through it, so that it had nothing to commit.
            check_committed(await self.driver.execute("COMMIT"))

    async def end(self, error: BaseException | None, /) -> None:
        kept = self._kept
        kept.release()
        keep = isinstance(error, Exception | None) and kept.is_open
        if error is not None and sqlstate_of(error) == READ_ONLY:
            keep = False
        try:
            if not keep:
                await self._pool.drop(kept)
            if self.session is not None and not self.session.sync_session.is_over:
                await self.session.run_sync(OwnedSession.end_delivery)
            if keep and self.driver.is_in_transaction():
                await self.driver.execute("ROLLBACK")
            fit = keep and not kept.misused and kept.is_fit
        except Exception:  # noqa: BLE001 - whatever state it is in, nobody else shall meet it
            fit = False
        kept.stop()
        if fit:
            self._pool.give_back(kept)
        elif keep:
            await self._pool.drop(kept)

    def cut(self) -> None:
        self.driver.terminate()
        # The handler may go on for as long as it likes: its place in the application's pool is free at once.
        self._pool.drop_soon(self._kept)


class KeptTransactions:
    """Keeps up to as many connections as transactions run at once; idle ones return to the application's pool."""

    def __init__(
        self,
        engine: AsyncEngine,
        make_session: Callable[[AsyncConnection], Any],
        marks: MarkStore,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """``options``: execution options of the sessions, which every connection gets once."""
        self._engine, self._make_session, self._marks = engine, make_session, marks
        self._options = dict(options or {})
        self._free: list[KeptConnection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self, *, session: bool = True) -> KeptTransaction:
        """A transaction on a connection that is free, or on one more of the application's pool."""
        kept = self._free.pop() if self._free else await self._check_out()
        while not kept.is_fit:
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
        if not kept.connection.closed:  # it may have been closed over the same failure, or by a handler
            kept.driver.terminate()
            await kept.connection.invalidate()
            await kept.connection.close()

    def drop_soon(self, kept: KeptConnection) -> None:
        """``drop`` for those who cannot wait."""
        self._note(asyncio.get_running_loop().create_task(self._drop_quietly(kept)))

    async def _drop_quietly(self, kept: KeptConnection) -> None:
        with contextlib.suppress(Exception):  # its handler's end may part with it at the same time
            await self.drop(kept)

    def _note(self, task: asyncio.Task[None]) -> None:
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

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
        try:
            return await self._connected()
        except Exception as error:
            raise NoConnection(describe(error)) from error

    async def _connected(self) -> KeptConnection:
        connection = await self._engine.connect()
        try:
            level = await connection.run_sync(Connection.get_isolation_level)
            await connection.rollback()
            connection = await connection.execution_options(**self._options, isolation_level="AUTOCOMMIT")
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
            self._note(loop.create_task(kept.connection.close()))
        if self._free:
            self._timer = loop.call_later(IDLE, self._return_idle)


def _send(connection: Connection, command: str) -> str:
    """Send a command on the driver's own connection, from within SQLAlchemy's events."""

    async def send(driver: asyncpg.Connection[Any]) -> str:
        return await driver.execute(command)

    adapted: Any = connection.connection.dbapi_connection
    status: str = adapted.run_async(send)
    return status
