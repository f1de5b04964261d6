"""Readings for people: bounded in time and in connections, so that a page can never slow the work down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from typing import Any

import asyncpg

from fastapi_events.errors import ReadingUnavailable
from fastapi_events.store.database import driver_url
from fastapi_events.store.statements import Statements

UNREACHABLE = (
    OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError, asyncpg.LockNotAvailableError, asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError, asyncpg.ObjectNotInPrerequisiteStateError,
)  # fmt: skip
"""What a server raises that cannot serve now, and the way to one that is not there."""
CONNECTIONS = 2
STATEMENT_TIMEOUT = 2.0
"""Seconds that one statement of a reading may take on the server."""
_ANSWER_TIMEOUT = STATEMENT_TIMEOUT + 2
"""Seconds after which a server that does not answer at all is given up."""
# Tables that were never analysed must not be read from end to end, and a plan must see which filters are set.
_STEERING = (
    f"SET LOCAL statement_timeout = {int(STATEMENT_TIMEOUT * 1000)}; SET LOCAL lock_timeout = 500; "
    "SET LOCAL jit_above_cost = -1; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_custom_plan"
)


class Reader:
    """One read-only transaction: all its statements see the same moment."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy[Any], statements: Statements) -> None:
        self._connection, self._statements = connection, statements

    async def rows(self, statement: str, *args: Any) -> list[Any]:
        """The rows of the named statement."""
        return await self._connection.fetch(self._statements[statement], *args)

    async def row(self, statement: str, *args: Any) -> Any:
        """The first row of the named statement, or None."""
        return await self._connection.fetchrow(self._statements[statement], *args)


class ReadingPool:
    """At most two connections for readings, opened when first needed and apart from those that do the work.

    ``url`` may name a read replica. ``pgbouncer``: a pooler in transaction mode stands between. Every reading runs in
    a read-only transaction whose statements are given up after two seconds; what goes wrong with the server or on
    the way to it is raised as ``ReadingUnavailable``.
    """

    def __init__(self, url: str, *, pgbouncer: bool = False) -> None:
        self._url, self._pgbouncer = driver_url(url), pgbouncer
        self._pool: asyncpg.Pool[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.asynccontextmanager
    async def transaction(self, statements: Statements) -> AsyncGenerator[Reader]:
        """A transaction for one reading."""
        with _explained(statements.schema):
            pool = await self._opened()
            async with (
                pool.acquire(timeout=STATEMENT_TIMEOUT) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await connection.execute(_STEERING)
                yield Reader(connection, statements)

    async def close(self) -> None:
        """Close the connections, by force if that takes longer than two seconds; they open again on demand."""
        pool, self._pool = self._pool, None
        if pool is None or self._loop is not asyncio.get_running_loop():
            return
        try:
            async with asyncio.timeout(2):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def _opened(self) -> asyncpg.Pool[Any]:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=CONNECTIONS,
                max_inactive_connection_lifetime=60,
                timeout=5,
                command_timeout=_ANSWER_TIMEOUT,
                statement_cache_size=0 if self._pgbouncer else 100,
                server_settings=None if self._pgbouncer else {"application_name": "fastapi_events readings"},
            )
            self._pool, self._loop = await pool, loop
        return self._pool


@contextlib.contextmanager
def _explained(schema: str) -> Generator[None]:
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise ReadingUnavailable(
            f"The reading took longer than {STATEMENT_TIMEOUT:g} s and was given up. Narrow the filter, or try again."
        ) from error
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError) as error:
        raise ReadingUnavailable(
            f"The schema {schema!r} is missing or older than this release. Run 'fastapi-events db upgrade'."
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise ReadingUnavailable(f"The database role may not read the events: {error}.") from error
    except TimeoutError as error:
        raise ReadingUnavailable("The database is busy or does not answer. Try again in a moment.") from error
    except UNREACHABLE as error:
        raise ReadingUnavailable(f"The database cannot be read now ({type(error).__name__}). Try again.") from error
