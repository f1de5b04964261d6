"""Running every check, each as far as those before it let it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg

from fastapi_events.cli.database_problems import DatabaseProblem, address_of, database_problems
from fastapi_events.cli.doctor.application_checks import application_findings, unhandled_finding
from fastapi_events.cli.doctor.finding import Finding, fail, ok
from fastapi_events.cli.doctor.job_checks import job_findings
from fastapi_events.cli.doctor.listen_check import listen_finding
from fastapi_events.cli.doctor.schema_checks import schema_findings, version_finding
from fastapi_events.cli.doctor.server_checks import (
    connection_finding,
    horizon_findings,
    pooler_finding,
    server_findings,
)
from fastapi_events.cli.doctor.work_checks import kept_finding, needed_connections, work_findings
from fastapi_events.errors import EventsError
from fastapi_events.plugin.locating import bind_url, locate
from fastapi_events.store.database import Database
from fastapi_events.store.examination import Examination
from fastapi_events.store.statements import Statements


async def examine(events: Any) -> AsyncIterator[Finding]:
    """Every finding of an application, in the order in which they are to be mended."""
    try:
        settings = events.settings
    except EventsError as error:
        yield fail("settings", str(error), "Correct what the lines name.")
        return
    yield ok("settings", "they agree with each other")
    for finding in application_findings(events):
        yield finding
    try:
        with database_problems(address_of(settings, events)):
            location = await locate(settings, events.sessions, events.sync_sessions)
            try:
                async for finding in _database(events, location.url):
                    yield finding
            finally:
                await location.leave()
    except DatabaseProblem as error:
        message, _, mend = str(error).partition("\n")
        yield fail("database", message, mend)
    except EventsError as error:
        yield fail("database", f"{type(error).__name__}: {error}", "Correct what the message names.")


async def _database(events: Any, url: str) -> AsyncIterator[Finding]:
    settings = events.settings
    # As if a pooler stood between, whatever the settings say: that works in either case.
    database = Database(url, pgbouncer=True, application_name="fastapi-events doctor")
    connection = await database.connect()
    try:
        examination = Examination(connection, Statements(settings.db_schema))
        before = datetime.now(UTC)
        server = await examination.server()
        for finding in server_findings(server, before=before, after=datetime.now(UTC)):
            yield finding
        yield pooler_finding(pooled=await examination.is_pooled(), pgbouncer=settings.pgbouncer)
        yield await _sessions_finding(events, database, examination)
        for finding in horizon_findings(await examination.horizon()):
            yield finding
        if not server["standby"]:
            yield await listen_finding(database, settings)
        version = await version_finding(connection, settings.db_schema)
        yield version
        if version.status == "fail":
            return
        healthy = True
        async for finding in schema_findings(examination, server["role"]):
            healthy = healthy and not (finding.name in ("cluster", "rights") and finding.status == "fail")
            yield finding
        if healthy:
            async for finding in _work(events, server, examination):
                yield finding
    finally:
        connection.terminate()


async def _work(events: Any, server: Any, examination: Examination) -> AsyncIterator[Finding]:
    async with events.connect() as operators:
        overview, log = await operators.observe.overview(), await operators.observe.log()
        jobs, pools = await operators.observe.jobs(), await operators.observe.pools()
        schedules = await operators.observe.schedules()
    yield unhandled_finding(events, await examination.selections())
    needed, processes = needed_connections(overview, events.settings.handler_connections)
    yield connection_finding(server, needed, processes)
    yield kept_finding(log)
    for finding in work_findings(overview, await examination.parked_keys(events.group), events.group):
        yield finding
    for finding in job_findings(jobs, pools, schedules):
        yield finding


async def _sessions_finding(events: Any, database: Database, examination: Examination) -> Finding:
    url = bind_url(events.sessions)
    if url is None or events.settings.database_url is None:
        return ok("sessions", "the application's sessions and the events are in one database")
    try:
        connection = await database.connect(url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return fail("sessions", f"The database of Events(sessions=…) does not answer: {error}", "Correct its engine.")
    try:
        there = await Examination(connection, Statements(events.settings.db_schema)).identity()
    finally:
        connection.terminate()
    here = await examination.identity()
    if tuple(there) == tuple(here):
        return ok("sessions", "the application's sessions and the events are in one database")
    return fail(
        "sessions",
        f"Events(sessions=…) are of the database {there['database']!r} and database_url leads to {here['database']!r}: "
        "no event of theirs would commit with its rows.",
        "Give both the same database, or leave EVENTS_DATABASE_URL unset.",
    )
