"""The library's own connections to the database: a few, bounded, apart from the user's pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

BOOKKEEPING_CONNECTIONS = 2
STATEMENT_TIMEOUT = 15.0
"""Seconds after which a bookkeeping statement is given up, so that a half-open socket cannot hang a loop."""

_PLANNER = {
    # Not jit = off: asyncpg, when it asks about a type, takes what a transaction has set for what the session has, and
    # would leave it behind on a pooler's connection.
    "jit_above_cost": "-1",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    # Settling may have to wait for the mark of a handler that is frozen: it is tried again, the connection is not kept.
    "lock_timeout": "2s",
}
# Whoever has waited for a row looks again at what has become of it, and what one statement has locked is seen by the
# next: so it is at this level alone, whatever is the default of the role, or of the database.
_LEVEL = "read committed"
# Lost bookkeeping is a redelivery, never a lost event: a crash of the server keeps a prefix of what was written, so
# cursors, marks and deliveries still agree.
_SESSION = {
    **_PLANNER, "synchronous_commit": "off", "client_connection_check_interval": "0",
    "default_transaction_isolation": _LEVEL,
}  # fmt: skip
# Behind a pooler each transaction brings its own; its level first, which nothing may come before.
_STEERING = ";".join(
    f"SET LOCAL {name} = '{value}'" for name, value in {"transaction_isolation": _LEVEL, **_PLANNER}.items()
)
# Tells one life of a server from the next, and from another server's. A crash can leave the postmaster, and the time it
# was started at, as they are; but the statistics are discarded by every recovery from one.
_LIFE = """
    SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),
                     extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()))
"""


class _Bookkeeping(asyncpg.Connection):
    """A connection that knows which life of the server it belongs to: it does not outlive it."""

    life: str = ""


def driver_url(url: str) -> str:
    """The URL as asyncpg takes it: without SQLAlchemy's driver suffix."""
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(scheme=parts.scheme.split("+", 1)[0].replace("postgres", "postgresql", 1))
        if parts.scheme.split("+", 1)[0] == "postgres"
        else parts._replace(scheme=parts.scheme.split("+", 1)[0])
    )


def sqlalchemy_url(url: str, driver: str = "asyncpg") -> str:
    """The URL as SQLAlchemy takes it, for a driver."""
    return driver_url(url).replace("postgresql://", f"postgresql+{driver}://", 1)


class Database:
    """Connects to one PostgreSQL database in the way the library needs it.

    ``pgbouncer`` says that a pooler in transaction mode stands between: no prepared-statement names and no session
    state then; the planner is steered inside each transaction instead.
    """

    def __init__(self, url: str, *, pgbouncer: bool = False, application_name: str = "fastapi_events") -> None:
        self.url = driver_url(url)
        self.pgbouncer = pgbouncer
        self._name = application_name
        self._pool: asyncpg.Pool[Any] | None = None
        self._life = ""
        self._older_life = False
        self.lost = 0
        """How many bookkeeping connections have ended."""

    async def open(self) -> None:
        """Open the bookkeeping pool; idempotent."""
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                min_size=0,  # with a floor the driver logs a traceback every few seconds while the server is away
                max_size=BOOKKEEPING_CONNECTIONS,
                max_inactive_connection_lifetime=0,
                max_queries=2**62,  # none is ended for its age
                reset=_keep,
                command_timeout=STATEMENT_TIMEOUT,
                connect=self._connect_bookkeeping,
                connection_class=_Bookkeeping,
            )

    async def close(self) -> None:
        """Close every bookkeeping connection, by force if the server does not answer within two seconds."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(2):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def connect(self, url: str | None = None, **settings: str) -> asyncpg.Connection[Any]:
        """A connection of its own, outside the pool, for whoever must not share."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            self.url if url is None else driver_url(url),
            timeout=5,
            statement_cache_size=0 if self.pgbouncer else 100,
            server_settings=None if self.pgbouncer else {"application_name": self._name, **settings},
        )
        return connection

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncGenerator[asyncpg.Connection[Any]]:
        """A bookkeeping connection for a few statements."""
        pool = self._pool
        if pool is None:
            raise ConnectionError("The bookkeeping connections are not open.")
        if self._older_life:
            # Somebody has reset the server's statistics, which also shows as a new life. Connections that disagree
            # for ever about which life it is would discard each other's work.
            self._older_life = False
            await pool.expire_connections()
        async with asyncio.timeout(STATEMENT_TIMEOUT):  # the pool's own time-out would make a task of each call
            connection = await pool.acquire()
        try:
            yield connection  # type: ignore[misc]  # asyncpg types the proxy, which has the connection's methods
        except asyncpg.ReadOnlySQLTransactionError:
            connection.terminate()  # it was opened on a standby, or as good as: it would refuse for ever
            raise
        finally:
            await pool.release(connection)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Run one statement on a bookkeeping connection and return its rows."""
        async with self.acquire() as connection:
            if not self.pgbouncer:
                return await connection.fetch(query, *args)
            async with self.steered(connection):
                return await connection.fetch(query, *args)

    async def fetch_with_life(self, query: str, *args: Any) -> tuple[list[Any], str]:
        """As ``fetch``, with the life of the server in which the statement ran."""
        async with self.acquire() as connection:
            if not self.pgbouncer:
                life = await self.life_of(connection)
                try:
                    return await connection.fetch(query, *args), life
                except TimeoutError:
                    connection.terminate()  # else what is still on its way to us would be waited for
                    raise
            async with self.steered(connection):
                life = await self.life_of(connection)
                return await connection.fetch(query, *args), life

    async def life_of(self, connection: Any) -> str:
        """The life of the server that a bookkeeping connection is in; behind a pooler, that its transaction is in.

        Equal for two statements if there was no crash and no other restart between them, and no failover.
        """
        try:
            life: str = await connection.fetchval(_LIFE) if self.pgbouncer else connection.life
        except AttributeError as error:  # the pool's stand-in has nothing behind it any more
            raise asyncpg.InterfaceError("the connection was lost right after it was taken from the pool") from error
        return life

    @contextlib.asynccontextmanager
    async def steered(self, connection: asyncpg.Connection[Any]) -> AsyncGenerator[None]:
        """A transaction for bookkeeping; behind a pooler it carries the settings that a session has otherwise."""
        async with connection.transaction():
            if self.pgbouncer:
                await connection.execute(_STEERING)
            yield

    async def _connect_bookkeeping(self, *_: Any, **kwargs: Any) -> asyncpg.Connection[Any]:
        opened: Any = await asyncpg.connect(
            self.url,
            timeout=5,
            command_timeout=STATEMENT_TIMEOUT,
            statement_cache_size=0 if self.pgbouncer else 100,
            server_settings=None if self.pgbouncer else {"application_name": self._name, **_SESSION},
            **{name: value for name, value in kwargs.items() if name in ("loop", "connection_class", "record_class")},
        )
        connection: _Bookkeeping = opened
        connection.add_termination_listener(self._note_lost)
        if not self.pgbouncer:
            try:
                connection.life = await connection.fetchval(_LIFE)
            except BaseException:
                connection.terminate()
                raise
            self._older_life |= self._life not in ("", connection.life)
            self._life = connection.life
        return connection

    def _note_lost(self, _: Any) -> None:
        self.lost += 1


async def _keep(_: Any) -> None:
    """Bookkeeping connections carry no state between uses: nothing to reset, no statement spent on it."""
