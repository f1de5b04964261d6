"""What the doctor asks a server and a schema. Nothing is changed: every question is a read-only transaction."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any

from fastapi_events.store.statements import Statements

OLD_TRANSACTION = 600.0
"""Seconds from which on an open transaction is old."""
OLD_SLOT = 1_000_000
"""Transactions that a replication slot may lag behind."""
MOST_KEYS = 10_000
_TIMEOUT = 5.0
_STEERING = "SET LOCAL statement_timeout = 4000; SET LOCAL lock_timeout = 500; SET LOCAL enable_seqscan = off"


class Examination:
    """Questions on a connection of its own."""

    def __init__(self, connection: Any, statements: Statements) -> None:
        self._connection, self._statements = connection, statements

    async def server(self) -> Any:
        """Version, clock, connections, notification queue, autovacuum."""
        return (await self._rows("examine_server"))[0]

    async def is_pooled(self) -> bool:
        """Whether a pooler stands between: the driver was then told of another process than answers."""
        pid: int = (await self._rows("identify_backend"))[0]["pid"]
        told: int = self._connection.get_server_pid()
        return pid != told

    async def horizon(self, old: float = OLD_TRANSACTION) -> list[Any]:
        """What keeps the server from cleaning up; transactions of ``old`` seconds and more."""
        return await self._rows("examine_horizon", old, OLD_SLOT)

    async def missing_rights(self) -> list[Any]:
        """What the role may not do that it has to."""
        return await self._rows("examine_rights")

    async def tables(self) -> Any:
        """Whether the role owns the log, and which tables autovacuum leaves out."""
        return (await self._rows("examine_tables"))[0]

    async def identity(self) -> Any:
        """Cluster and database that the connection leads to."""
        return (await self._rows("identify_database"))[0]

    async def installation(self) -> Any:
        """The cluster that the schema was made on, and this one."""
        return (await self._rows("read_installation"))[0]

    async def log_end(self) -> Any:
        """Where the log is, and how far it has room."""
        return (await self._rows("read_log_end"))[0]

    async def parked_keys(self, group: str) -> list[Any]:
        """Handlers with keys behind a dead delivery, counted up to ``MOST_KEYS`` each."""
        return await self._rows("count_parked_keys", group, MOST_KEYS)

    async def selections(self) -> list[str]:
        """The names and wildcards that handlers of any group select."""
        return [row["selects"] for row in await self._rows("read_selections")]

    async def _rows(self, name: str, *arguments: Any) -> list[Any]:
        async with asyncio.timeout(_TIMEOUT), self._connection.transaction(readonly=True):
            await self._connection.execute(_STEERING)
            rows: list[Any] = await self._connection.fetch(self._statements[name], *arguments)
        return rows


async def is_heard(listening: Any, sending: Any, statements: Statements, *, seconds: float) -> bool:
    """Whether a notification that one connection sends arrives on the other, on a channel that nobody else uses."""
    channel = f"fastapi_events_doctor_{secrets.token_hex(8)}"
    heard = asyncio.Event()

    def note(*_: Any) -> None:
        heard.set()

    await listening.add_listener(channel, note)
    try:
        await sending.execute(statements["notify"], channel, "", timeout=seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await heard.wait()
        return heard.is_set()
    finally:
        await listening.remove_listener(channel, note)
