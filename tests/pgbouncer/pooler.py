"""A real PgBouncer in transaction mode, and a stage whose instances reach the database through it alone."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.embedded.account import account_for
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Stage

SERVERS = 3
"""Server connections that all clients share."""
NO_NAMES: dict[str, dict[str, Any]] = {
    "asyncpg": {"statement_cache_size": 0, "prepared_statement_cache_size": 0},
    "psycopg": {"prepare_threshold": None},
}
"""What an application gives its engines behind a pooler, for each driver: no statement gets a name."""

# Every transaction gets another server connection than the one before it: whatever relies on meeting the same one
# again fails at once, and not only under load. No start-up parameter is ignored and nothing is reset in between.
_CONFIGURATION = """
[databases]
* = {target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = pgbouncer
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 200
server_round_robin = 1
server_reset_query =
server_idle_timeout = 0
query_wait_timeout = 20
pidfile =
"""


def find_pgbouncer() -> str | None:
    """The program; packages put it where only administrators look."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """A running pooler before the server of a URL."""

    def __init__(self, program: str, url: str) -> None:
        self._program, self._url = program, url
        self._folder = Path(tempfile.mkdtemp(prefix="events-pgbouncer-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The database of the server's URL, through the pooler."""
        return self.url_of(self._url)

    def url_of(self, url: str) -> str:
        """Another database of the same server, through the pooler."""
        return f"postgresql://app@127.0.0.1:{self.port}{urlsplit(url).path}"

    async def start(self) -> None:
        """Start, and return once it accepts connections."""
        for _ in range(3):  # somebody else may take the free port first
            self.port = _free_port()
            self._run()
            if await self._accepts():
                return
        raise AssertionError(f"PgBouncer did not start:\n{self.log}")

    async def start_anew(self) -> None:
        """End every connection, of clients and to the server, and serve at the same address again."""
        self._kill()
        self._run()
        assert await self._accepts(), self.log

    def stop(self) -> None:
        """End it with every connection, and remove its folder."""
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self._folder / "log").read_text(errors="replace")

    def _run(self) -> None:
        account, file = account_for(self._folder / "none"), self._folder / "pgbouncer.ini"
        account.own(self._folder)
        file.write_text(_CONFIGURATION.format(target=_target(self._url), port=self.port, servers=SERVERS))
        account.own(file)
        with (self._folder / "log").open("ab") as log:
            command = [self._program, str(file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **account.subprocess_options)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def _accepts(self) -> bool:
        assert self._process is not None
        async with asyncio.timeout(10):
            while self._process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return True
                await asyncio.sleep(0.005)
        return False


class PooledStage(Stage):
    """A stage whose instances know the pooler's address only; ``rows`` and the like go to the server directly."""

    def __init__(self, url: str, pooler: PgBouncer) -> None:
        super().__init__(url)
        self.pooler = pooler
        self.engines: list[AsyncEngine] = []
        self.plain_engines: list[Engine] = []
        self.begun: Any = None

    async def begin(self) -> None:
        """Remember the server's time: what connects from now on, connects because of this test."""
        self.begun = await self.value("SELECT clock_timestamp()")

    async def servers(self) -> list[str]:
        """The server connections made since the test began, but for those of ``rows`` and the like."""
        rows = await self.rows(_SERVERS, self.begun)
        return [f"{row['pid']} {row['application_name']}: {row['query']}" for row in rows]

    def settings(self, **changes: Any) -> Any:
        return super().settings(**{"database_url": self.pooler.url, "pgbouncer": True, **changes})

    def sessions(self, driver: str = "asyncpg") -> async_sessionmaker[Any]:
        """The session maker of an application that follows docs/how-to/pgbouncer.md."""
        engine = create_async_engine(sqlalchemy_url(self.pooler.url, driver), connect_args=NO_NAMES[driver])
        self.engines.append(engine)
        return async_sessionmaker(engine, expire_on_commit=False)

    def sync_sessions(self) -> sessionmaker[Session]:
        """The same for plain sessions, with psycopg."""
        engine = create_engine(sqlalchemy_url(self.pooler.url, "psycopg"), connect_args=NO_NAMES["psycopg"])
        self.plain_engines.append(engine)
        return sessionmaker(engine)

    @contextlib.asynccontextmanager
    async def every_server(self) -> AsyncIterator[list[Any]]:
        """A fresh client in a transaction on each of the pooler's server connections, all at the same time."""
        async with contextlib.AsyncExitStack() as exits:
            clients = []
            for _ in range(SERVERS):
                client = await asyncpg.connect(self.pooler.url, statement_cache_size=0, timeout=10)
                exits.push_async_callback(client.close)
                await exits.enter_async_context(client.transaction())
                clients.append(client)
            assert len({await client.fetchval("SELECT pg_backend_pid()") for client in clients}) == SERVERS
            yield clients

    async def leftovers(self) -> list[str]:
        """What a client finds on any of the server connections that it would not find on a new one."""
        async with self.every_server() as clients:
            return [trace for client in clients for trace in await _leftovers(client)]

    async def close(self) -> None:
        await super().close()
        for engine in self.engines:
            await engine.dispose()
        for plain in self.plain_engines:
            plain.dispose()


_SERVERS = """
    SELECT pid, application_name, query
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
      AND application_name <> 'stage' AND backend_start > $1
"""

# What PgBouncer sets for each client by itself, from the client's start-up packet, is left out.
_LEFTOVERS = """
    SELECT name || ' = ' || coalesce(setting, '')
    FROM pg_settings
    WHERE (source = 'client' OR source = 'session' AND setting <> reset_val)
      AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'standard_conforming_strings', 'TimeZone')
    UNION ALL SELECT 'statement ' || name || ': ' || statement FROM pg_prepared_statements WHERE name <> ''
    UNION ALL SELECT 'channel ' || channel FROM pg_listening_channels() AS channel
    UNION ALL SELECT 'lock ' || objid FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
    UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable
    UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""


async def _leftovers(client: Any) -> list[str]:
    return [row[0] for row in await client.fetch(_LEFTOVERS)]


def _target(url: str) -> str:
    """Where the server is, as PgBouncer's file says it; the database has the name that the client asks for."""
    parts = urlsplit(url)
    given = {key: values[0] for key, values in parse_qs(parts.query).items()}
    facts = {
        "host": given.get("host") or unquote(parts.hostname or "127.0.0.1"),
        "port": given.get("port") or str(parts.port or 5432),
        "user": given.get("user") or unquote(parts.username or "postgres"),
        "password": given.get("password") or unquote(parts.password or ""),
    }
    quoted = {key: value.replace("'", "''") for key, value in facts.items() if value}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
