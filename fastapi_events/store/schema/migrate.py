"""Moving a database from one schema version to another, safely beside other processes that try the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from fastapi_events.errors import SchemaOutOfDate
from fastapi_events.store.schema.steps import (
    LATEST,
    checked_version,
    completion,
    held_version,
    preparation,
    record,
    statements,
)

_LOCK = 4_703_219_587_113_001  # any constant of our own; advisory locks share one number space per database


class Executor(Protocol):
    """What a migration needs of a connection: one statement at a time, inside one transaction."""

    async def execute(self, query: str) -> Any: ...

    async def fetchval(self, query: str) -> Any: ...


async def current_version(connection: Executor, *, schema: str = "events") -> int:
    """The version that the database has; 0 if nothing is installed."""
    exists, version = held_version(schema)
    return int(await connection.fetchval(version)) if await connection.fetchval(exists) else 0


async def upgrade(connection: Any, *, schema: str = "events", target: int | None = None, partitions: int = 32) -> int:
    """Bring the schema to ``target`` (default: the newest) and return the version it has then.

    Idempotent; concurrent calls wait for each other. Runs in a transaction of its own on an asyncpg connection.
    A database that is newer already is left alone. Raises ``SettingsError`` for a version that there is not.
    """
    last = LATEST if target is None else checked_version(target)

    async def steps(held: int) -> int:
        for version in range(held + 1, last + 1):
            await _run(connection, [*statements(version, "up", schema), *completion(version, schema, partitions)])
            held = version
        return held

    return await _locked(connection, schema, steps)


async def downgrade(connection: Any, *, schema: str = "events", target: int = 0) -> int:
    """Take the schema back to ``target`` and return the version it has then; 0 removes every table and all data.

    Raises ``SettingsError`` for a version that there is not, and ``SchemaOutOfDate`` for a database that is newer than
    this release.
    """
    checked_version(target)

    async def steps(held: int) -> int:
        if held > LATEST:
            raise SchemaOutOfDate(
                f"The schema {schema!r} has version {held}, newer than this release, which knows {LATEST} at most. "
                "Downgrade with the release that made it."
            )
        for version in range(held, target, -1):
            await _run(connection, [*statements(version, "down", schema), record(version - 1, schema)])
            held = version - 1
        return held

    return await _locked(connection, schema, steps)


async def check(connection: Executor, *, schema: str = "events") -> None:
    """Raise ``SchemaOutOfDate`` unless the database has the schema that this release needs or a newer one.

    Migrations only add within a minor release, so this release works on a schema of the next one too.
    """
    held = await current_version(connection, schema=schema)
    if held < LATEST:
        state = "is not installed" if held == 0 else f"has version {held}"
        raise SchemaOutOfDate(
            f"The schema {schema!r} {state}; this release needs version {LATEST}. Run 'fastapi-events db upgrade' "
            "(or your own migrations) before starting the app."
        )


async def _locked(connection: Any, schema: str, steps: Callable[[int], Awaitable[int]]) -> int:
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await connection.execute(preparation(schema))
        return await steps(await current_version(connection, schema=schema))


async def _run(connection: Any, parts: list[str]) -> None:
    for statement in parts:
        await connection.execute(statement)
