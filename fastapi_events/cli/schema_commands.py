"""What the ``db`` commands do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import typer

from fastapi_events.cli.database_problems import address_of, database_problems
from fastapi_events.cli.loading import load_events
from fastapi_events.cli.pruning import prune_all, told_of
from fastapi_events.engine.pruning import Pruner, ages_of
from fastapi_events.errors import SettingsError
from fastapi_events.plugin.locating import locate
from fastapi_events.settings import EventsSettings
from fastapi_events.store import schema
from fastapi_events.store.database import Database
from fastapi_events.store.rebase import rebase as rebase_log
from fastapi_events.store.segments import SegmentStore
from fastapi_events.store.statements import Statements


async def upgrade(app: str | None, url: str | None, target: int | None) -> int:
    """Upgrade and say what was done."""
    if target is not None:
        schema.checked_version(target)
    async with _connected(app, url) as (connection, settings, _):
        before = await schema.current_version(connection, schema=settings.db_schema)
        now = await schema.upgrade(connection, schema=settings.db_schema, target=target, partitions=settings.partitions)
    typer.echo(f"Schema {settings.db_schema!r}: version {before} → {now}" if now != before else _is_at(settings, now))
    return 0


async def downgrade(app: str | None, url: str | None, target: int) -> int:
    """Downgrade and say what was done."""
    async with _connected(app, url) as (connection, settings, _):
        now = await schema.downgrade(connection, schema=settings.db_schema, target=target)
    typer.echo(_is_at(settings, now))
    return 0


async def check(app: str | None, url: str | None) -> int:
    """Say the version; raises ``SchemaOutOfDate``."""
    async with _connected(app, url, owner=False) as (connection, settings, _):
        await schema.check(connection, schema=settings.db_schema)
        now = await schema.current_version(connection, schema=settings.db_schema)
    typer.echo(_is_at(settings, now))
    return 0


async def grant(app: str | None, url: str | None, role: str) -> int:
    """Grant an application's role what it needs."""
    async with _connected(app, url) as (connection, settings, _):
        await connection.execute(schema.grants(settings.db_schema, role))
    typer.echo(f"Role {role!r} may publish and handle in schema {settings.db_schema!r}.")
    return 0


async def rebase(app: str | None, url: str | None) -> int:
    """Take a restored log into use."""
    async with _connected(app, url) as (connection, settings, _):
        await schema.check(connection, schema=settings.db_schema)
        await rebase_log(connection, settings.db_schema)
    typer.echo("The log is this cluster's now; workers may start.")
    return 0


async def maintain(app: str | None, url: str | None) -> int:
    """Extend the log, and prune to the end."""
    async with _connected(app, url) as (connection, settings, found):
        await schema.check(connection, schema=settings.db_schema)
        database = Database(found, pgbouncer=settings.pgbouncer)
        await database.open()
        try:
            statements = Statements(settings.db_schema)
            await SegmentStore(database, statements).extend(settings.history_retention or None)
            typer.echo("The event log has room.")
            pruned = await prune_all(Pruner(database, statements, ages_of(settings)))
        finally:
            await database.close()
    for line in told_of(pruned):
        typer.echo(line)
    return 0


def _is_at(settings: EventsSettings, version: int) -> str:
    return f"Schema {settings.db_schema!r} is at version {version}."


@contextlib.asynccontextmanager
async def _connected(
    app: str | None, url: str | None, *, owner: bool = True
) -> AsyncGenerator[tuple[asyncpg.Connection[Any], EventsSettings, str]]:
    settings, events = _settings(app, url)
    sessions, sync_sessions = (events.sessions, events.sync_sessions) if events is not None else (None, None)
    location = await locate(settings, sessions, sync_sessions)
    try:
        with database_problems(address_of(settings, events, given=url is not None), owner=owner):
            connection = await Database(location.url, pgbouncer=settings.pgbouncer).connect()
            try:
                yield connection, settings, location.url
            finally:
                await connection.close()
    finally:
        await location.leave()


def _settings(app: str | None, url: str | None) -> tuple[EventsSettings, Any]:
    """The settings, and the ``Events`` object if they are its own; what the command line gives wins over both."""
    settings = EventsSettings() if url is None else EventsSettings(database_url=url)
    if app is None and settings.database_url is not None:
        return settings, None
    events = load_events(app, required=False)
    if events is not None:
        own: EventsSettings = events.settings
        return own if url is None else own.model_copy(update={"database_url": settings.database_url}), events
    if settings.database_url is None and not settings.development:
        raise SettingsError(
            "Which database? Pass --database-url postgresql://…, set EVENTS_DATABASE_URL, or name the Events object "
            "whose database it is: --app module:attribute, EVENTS_APP, or app under [tool.fastapi_events] in "
            "pyproject.toml."
        )
    return settings, None
