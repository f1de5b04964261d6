"""Apps of the pages, served in this process, and conditions to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx

WITHIN = 15.0


@asynccontextmanager
async def served(app: Any, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app whose lifespan runs."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop.test", headers=headers) as client,
    ):
        yield client


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for a condition to give something true, and return that."""
    async with asyncio.timeout(WITHIN):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


async def execute(url: str, statement: str, *arguments: Any) -> list[Any]:
    """Run one statement beside the app."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()
