"""Which database the events live in: one, and never a guess."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi_events.embedded import EmbeddedServer
from fastapi_events.errors import SettingsError
from fastapi_events.plugin.checks import missing_extra
from fastapi_events.settings import EventsSettings


class Location:
    """The database of an ``Events`` instance, and the embedded server if that is where it is."""

    def __init__(self, url: str, server: EmbeddedServer | None = None) -> None:
        self.url, self._server = url, server

    @property
    def embedded(self) -> bool:
        """Whether the database is on the embedded server."""
        return self._server is not None

    async def leave(self) -> None:
        """Leave the embedded server, if there is one."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)


async def locate(settings: EventsSettings, sessions: Any, sync_sessions: Any) -> Location:
    """``database_url``, else the database of the application's sessions, else the embedded server in development."""
    if settings.database_url == "memory":
        raise SettingsError(
            "EVENTS_DATABASE_URL=memory keeps events in the memory of one process, for its tests: there is nothing to "
            "connect to. Name the PostgreSQL database, or use EVENTS_DATABASE_URL=embedded."
        )
    if settings.database_url not in (None, "embedded"):
        return Location(str(settings.database_url))
    if settings.database_url is None:
        url = bind_url(sessions) or bind_url(sync_sessions)
        if url is not None:
            return Location(url)
        if not settings.development:
            raise SettingsError(
                "No database is given. Set EVENTS_DATABASE_URL=postgresql://…, or pass Events(sessions=…) with an "
                "async_sessionmaker that is bound to an engine, or set EVENTS_DEV=1 to use an embedded PostgreSQL."
            )
    server = EmbeddedServer()
    try:
        return Location(await asyncio.to_thread(server.start, settings.embedded_data), server)
    except ModuleNotFoundError as error:
        raise missing_extra(
            error,
            what="The embedded PostgreSQL",
            extra="embedded",
            otherwise="the address of a server: EVENTS_DATABASE_URL=postgresql://user@host/database",
        ) from error


def bind_url(sessions: Any) -> str | None:
    """The URL of the engine that a session maker is bound to; None if it is bound to none."""
    bind = getattr(sessions, "kw", {}).get("bind") if sessions is not None else None
    url = getattr(bind, "url", None)
    if url is None:
        return None
    if url.get_backend_name() != "postgresql":
        raise SettingsError(
            f"sessions are bound to {url.get_backend_name()}; events live in PostgreSQL, in the same database as the "
            "application's own rows. Bind the session maker to a PostgreSQL engine."
        )
    plain = url.difference_update_query(["prepared_statement_cache_size", "prepared_statement_name_func"])
    return str(plain.render_as_string(hide_password=False))
