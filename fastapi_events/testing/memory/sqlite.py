"""Sessions for tests that have no database: SQLite in a file of their own, behind SQLAlchemy's asyncio interface.

There is nothing to wait for, so nothing is awaited: a statement holds the event loop up for microseconds. A second
writer is told at once that the database is locked, since waiting would hold up the first one as well.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only
from sqlmodel.ext.asyncio.session import AsyncSession

_DRIVER = "sqlite+blocking"


async def _nothing() -> None:
    """SQLAlchemy insists that a statement waits for something, and on being told where nobody can wait."""


class _Cursor(sqlite3.Cursor):
    def execute(self, *given: Any) -> Any:
        await_only(_nothing())
        return super().execute(*given)

    def executemany(self, *given: Any) -> Any:
        await_only(_nothing())
        return super().executemany(*given)

    async def _async_soft_close(self) -> None:
        """SQLAlchemy's asyncio interface asks for it; the rows have been fetched."""


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


class Dialect(SQLiteDialect_pysqlite):
    """SQLite's own, which SQLAlchemy's asyncio interface takes for one that waits."""

    driver = "blocking"
    is_async = True
    supports_statement_cache = True


class SQLite:
    """A database in a temporary folder, until ``close()``; ``sessions`` makes sessions on it."""

    def __init__(self) -> None:
        registry.register(_DRIVER.replace("+", "."), __name__, Dialect.__name__)
        self._folder = tempfile.TemporaryDirectory(prefix="events-on-memory-")
        # The driver's own transactions begin with the first INSERT; these begin where SQLAlchemy says.
        how = {"timeout": 0, "isolation_level": None, "factory": _Connection}
        url = URL.create(_DRIVER, database=str(Path(self._folder.name) / "rows.sqlite"))
        self.engine = create_async_engine(url, poolclass=NullPool, connect_args=how)
        event.listen(self.engine.sync_engine, "begin", _begin)
        self.sessions: async_sessionmaker[Any] = async_sessionmaker(
            self.engine, expire_on_commit=False, class_=AsyncSession
        )

    async def close(self) -> None:
        """Remove the database."""
        await self.engine.dispose()
        self._folder.cleanup()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
