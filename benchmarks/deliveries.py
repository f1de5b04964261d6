"""What the harness reads from our table of deliveries: how many there are in each state."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from benchmarks.server import Server

_COUNT = "SELECT state, count(*) AS deliveries FROM events.delivery GROUP BY state"
_LOOK_EVERY_SECONDS = 0.1


async def counted(server: Server, url: str) -> Counter[str]:
    """Deliveries by state: ``waiting``, ``dead``, ``discarded``, ``done``."""
    async with server.session(_database(url)) as connection:
        return await _look(connection)


async def until_waiting(server: Server, url: str, expected: int, *, deadline: float) -> None:
    """Look, ten times a second, until ``expected`` deliveries wait; raises ``TimeoutError`` after so many seconds."""
    seen: Counter[str] = Counter()
    async with server.session(_database(url)) as connection:
        try:
            async with asyncio.timeout(deadline):
                while (seen := await _look(connection))["waiting"] != expected:
                    await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise TimeoutError(
                f"after {deadline:.0f} s {expected} deliveries were to wait; they stand so: {dict(seen)}."
            ) from None


async def _look(connection: asyncpg.Connection[Any]) -> Counter[str]:
    return Counter({row["state"]: row["deliveries"] for row in await connection.fetch(_COUNT)})


def _database(url: str) -> str:
    return urlsplit(url).path.lstrip("/")
