"""Whether a notification gets from a publisher to a listener, by the addresses that both will use."""

from __future__ import annotations

import asyncio

import asyncpg

from fastapi_events.cli.doctor.finding import Finding, fail, ok, warn
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.examination import Examination, is_heard
from fastapi_events.store.statements import Statements

PATIENCE = 3.0
_MEND = "Set EVENTS_LISTEN_DATABASE_URL to the own address of the server that is published on"


async def listen_finding(database: Database, settings: EventsSettings) -> Finding:
    """Send a notification to oneself."""
    url = settings.listener_url(database.url)
    if url is None:
        return warn(
            "listen", f"Behind a pooler without EVENTS_LISTEN_DATABASE_URL nothing is heard: events wait for the next "
            f"look, up to {settings.degraded_interval:g} s.",
            "Set EVENTS_LISTEN_DATABASE_URL to the server's own address.",
        )  # fmt: skip
    if settings.notify == "off":
        return warn(
            "listen", "EVENTS_NOTIFY is off: nobody is told of events, they wait for the next look.", "Unset it."
        )
    try:
        async with asyncio.timeout(3 * PATIENCE):
            return await _tried(database, url, Statements(settings.db_schema))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        said = str(error) or "no answer in time"
        return fail("listen", f"The address for LISTEN does not serve: {said}", f"{_MEND}.")


async def _tried(database: Database, url: str, statements: Statements) -> Finding:
    listening = await database.connect(url)
    try:
        if await Examination(listening, statements).is_pooled():  # not tried: it would leave a listener in the pool
            told = "The address for LISTEN leads through a pooler; in transaction mode nothing is heard there."
            return fail("listen", told, f"{_MEND}, past any pooler.")
        sending = await database.connect()
        try:
            heard = await is_heard(listening, sending, statements, seconds=PATIENCE)
        finally:
            sending.terminate()
    finally:
        listening.terminate()
    if heard:
        return ok("listen", "a notification that was sent has arrived")
    return fail("listen", f"A notification that was sent did not arrive within {PATIENCE:g} s.", f"{_MEND}.")
