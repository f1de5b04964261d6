"""Parts of a transaction that asyncpg did not begin: savepoints (asyncpg refuses to nest in one), and its borders."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol

_BORDER = re.compile(
    r"(?:[\s;]|--[^\n]*\n|/\*(?:(?!\*/).)*\*/)*"
    r"(?:commit|end|abort|begin|start\s+transaction|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)


def is_border(statement: str) -> bool:
    """Whether a statement begins or ends a transaction (savepoints do neither); it looks at its first words alone."""
    return _BORDER.match(statement) is not None


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
