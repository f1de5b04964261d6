"""The fixtures themselves: a test finds an empty database, whatever ran before it."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest


async def count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS leftover (x int); INSERT INTO leftover VALUES (1)")
        return int(await connection.fetchval("SELECT count(*) FROM leftover"))
    finally:
        await connection.close()


@pytest.mark.parametrize("run", [1, 2])
async def test_a_test_finds_nothing_of_another(clean_database: str, run: int) -> None:
    assert await count(clean_database) == 1


async def test_what_the_schema_itself_contains_is_kept(clean_database: str) -> None:
    connection = await asyncpg.connect(clean_database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM events.schema_version") >= 1
    finally:
        await connection.close()


async def test_databases_of_a_tests_own(new_database: Callable[..., Awaitable[str]]) -> None:
    with_schema, empty = await asyncio.gather(new_database(), new_database(schema=False))
    for url, expected in ((with_schema, True), (empty, False)):
        connection = await asyncpg.connect(url)
        try:
            assert await connection.fetchval("SELECT to_regclass('events.event') IS NOT NULL") is expected
        finally:
            await connection.close()
