"""The driver's own connection in a delivery's transaction, for handlers that write SQL themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from fastapi_events.engine.transaction_guard import refuse
from fastapi_events.errors import HandlerSessionMisuse
from fastapi_events.store.savepoints import is_border, savepoint

if TYPE_CHECKING:
    # asyncpg's classes are generic for type checkers alone.
    Driver = asyncpg.Connection[Any]
    Row = asyncpg.Record

ENDED = "ended the transaction of its HandlerConnection by a statement of its own (COMMIT or ROLLBACK)"


class HandlerConnection:
    """asyncpg's statements in the transaction of one delivery; annotate a handler's parameter with it.

    It promises what ``HandlerSession`` promises: effects, the processing mark and events published through an injected
    ``EventPublisher`` commit in one transaction after the handler has returned. It leaves SQLAlchemy's part out, which
    for a handler of one INSERT is most of the work. Statements take asyncpg's parameters (``$1``, ``$2`` …), and
    ``timeout`` is in seconds (default: none but the handler's own). A handler that takes a ``HandlerSession`` too has
    both on one connection; flush the session before a statement here has to see its rows.

    Needs sessions on an engine of ``postgresql+asyncpg`` (those of the library are). Raises asyncpg's own errors, and
    ``HandlerSessionMisuse`` for a statement that begins or ends a transaction (before it is sent, where it comes first
    in its text), after one that has ended it, and when it is used after its delivery.
    """

    __slots__ = ("_driver", "_savepoints")

    def __init__(self, driver: Driver) -> None:
        self._driver: Driver | None = driver
        self._savepoints = 0

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a statement (or, without arguments, several) and return the last one's status, e.g. ``INSERT 0 1``."""
        status: str = await self._open_for(query).execute(query, *args, timeout=timeout)
        return status

    async def executemany(self, query: str, args: Iterable[Sequence[Any]], *, timeout: float | None = None) -> None:
        """Run a statement once for each sequence of arguments, in one round trip."""
        await self._open_for(query).executemany(query, args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Row]:
        """Run a statement and return its rows."""
        rows: list[Row] = await self._open_for(query).fetch(query, *args, timeout=timeout)
        return rows

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Row | None:
        """Run a statement and return its first row, or None."""
        row: Row | None = await self._open_for(query).fetchrow(query, *args, timeout=timeout)
        return row

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """Run a statement and return one value of its first row, or None."""
        return await self._open_for(query).fetchval(query, *args, column=column, timeout=timeout)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """A block whose statements are undone if it raises, and which lets the transaction go on after an error."""
        driver = self._open()
        self._savepoints += 1
        async with savepoint(driver, self._savepoints):
            yield

    def _open(self) -> Driver:
        driver = self._driver
        if driver is None:
            raise HandlerSessionMisuse(
                "A HandlerConnection was used after its handler had returned, when its transaction is over and the "
                "connection serves another delivery. Await what the handler starts before it returns."
            )
        if not driver.is_in_transaction() and not driver.is_closed():
            refuse(ENDED)
        return driver

    def _open_for(self, query: str) -> Driver:
        if is_border(query):
            refuse("sent BEGIN, COMMIT or ROLLBACK through its HandlerConnection")
        return self._open()

    def end(self) -> None:
        """The handler has returned: nothing that it left behind may reach the connection any more."""
        self._driver = None

    def check(self) -> None:
        """Raise ``HandlerSessionMisuse`` if the handler has ended the transaction."""
        self._open()
