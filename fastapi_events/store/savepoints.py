"""Savepoints on an asyncpg connection whose transaction was not begun by asyncpg, which refuses to nest in one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol


class Connection(Protocol):
    """What a savepoint needs of an asyncpg connection."""

    async def execute(self, query: str) -> Any: ...

    def is_closed(self) -> bool: ...


@asynccontextmanager
async def savepoint(connection: Connection, number: int) -> AsyncGenerator[None]:
    """A block whose statements are undone if it raises; ``number`` tells savepoints that are open at once apart."""
    name = f"fastapi_events_{number}"
    await connection.execute(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute(f"ROLLBACK TO {name}; RELEASE {name}")
        raise
    await connection.execute(f"RELEASE {name}")
