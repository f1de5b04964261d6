"""Databases that tests make, empty and drop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import asyncpg

from fastapi_events.store import schema
from fastapi_events.store.database import driver_url
from fastapi_events.store.schema import quoted

_LOCK_TIMEOUT = "10s"

_TABLES = """
    SELECT format('%I.%I', relnamespace::regnamespace::text, relname) AS name
    FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't'
      AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1
"""


async def connect(url: str) -> asyncpg.Connection[Any]:
    """A connection to a test's database, which waits ten seconds at most for what a test has left locked."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        driver_url(url), server_settings={"lock_timeout": _LOCK_TIMEOUT, "application_name": "fastapi_events tests"}
    )
    return connection


async def create_database(url: str, name: str) -> None:
    """Make an empty database beside that of ``url``."""
    await _run(url, f"CREATE DATABASE {quoted(name)}")


async def drop_database(url: str, name: str) -> None:
    """Drop a database beside that of ``url``, whoever is connected to it."""
    await _run(url, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


async def install(url: str, name: str) -> bool:
    """Bring the schema to its newest version; says whether its log is empty."""
    connection = await connect(url)
    try:
        await schema.upgrade(connection, schema=name)
        return not await connection.fetchval(f"SELECT EXISTS (TABLE {quoted(name)}.event)")
    finally:
        await connection.close()


async def filled_tables(connection: asyncpg.Connection[Any]) -> frozenset[str]:
    """Every table that has rows, as it is written in SQL."""
    names = [row["name"] for row in await connection.fetch(_TABLES)]
    return frozenset([name for name in names if await connection.fetchval(f"SELECT EXISTS (TABLE {name})")])


async def empty(connection: asyncpg.Connection[Any], kept: Collection[str]) -> None:
    """Delete the rows of every table but ``kept``.

    Deleting a test's few rows is quicker by far than truncating the tables; but only a superuser can do without the
    checks of foreign keys, which would want an order.
    """
    names: Sequence[str] = [row["name"] for row in await connection.fetch(_TABLES) if row["name"] not in kept]
    if not names:
        return
    try:
        deletes = "".join(f"DELETE FROM {name};" for name in names)  # noqa: S608 - quoted by the server
        await connection.execute(f"BEGIN; SET LOCAL session_replication_role = replica; {deletes} COMMIT")
    except asyncpg.InsufficientPrivilegeError:
        await connection.execute("ROLLBACK")
        await connection.execute(f"TRUNCATE {', '.join(names)}")
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise


async def _run(url: str, statement: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
