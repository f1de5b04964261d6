"""``doctor``: each misconfiguration is found and its mend said, and nothing is changed by looking."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import Event, Events, EventsSettings, Module, Retry
from fastapi_events.cli.doctor import Finding, examine
from fastapi_events.cli.doctor.server_checks import (
    connection_finding,
    horizon_findings,
    pooler_finding,
    server_findings,
)
from fastapi_events.store import schema
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.examination import Examination
from fastapi_events.store.statements import Statements
from tests.cli.bakery import APP, fill
from tests.cli.conftest import Run
from tests.conftest import NewDatabase, run_once, tables, url_of
from tests.dashboard.seeding import Seeding
from tests.pgbouncer.conftest import pooler
from tests.pgbouncer.pooler import PgBouncer

__all__ = ["pooler"]

ALL = {
    "settings", "handlers", "unhandled events", "enabled", "dashboard", "version", "primary", "clock", "autovacuum",
    "notification queue", "pooler", "sessions", "old transactions", "replication slots", "listen", "schema", "cluster",
    "rights", "log", "owner", "vacuumed tables", "connections", "workers", "wake-up", "missing handlers",
    "no_handler deliveries", "dead letters", "parked keys", "retention", "paused", "breakers",
}  # fmt: skip


async def findings(events: Events) -> dict[str, Finding]:
    found = {finding.name: finding async for finding in examine(events)}
    assert not [one for one in found.values() if one.status != "ok" and not one.mend]
    return found


def made(url: str | None, *modules: Module, sessions: Any = None, authorize: Any = None, **settings: Any) -> Events:
    given = {"database_url": url} if url else {}
    return Events(modules, sessions=sessions, authorize=authorize, settings=EventsSettings(**given, **settings))


def told(finding: Finding, status: str, message: str, mend: str = "") -> None:
    assert (finding.status, message in finding.message, mend in (finding.mend or "")) == (status, True, True), finding


async def content(connection: Any) -> dict[str, Any]:
    """Every row of every table, and the sequences."""
    kept = {name: sorted(map(str, await connection.fetch(f"TABLE {name}"))) for name in await tables(connection)}
    objects = await connection.fetch("SELECT relname FROM pg_class ORDER BY 1")
    return kept | {"objects": list(map(str, objects))}


async def test_a_healthy_installation_passes_and_is_left_as_it_was(
    run: Run, connection: Any, clean_database: str
) -> None:
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    for handler in ("bakery.bake", "bakery.by_name", "bakery.note", "bakery.eat"):
        await seeding.handler(handler, "bakery.order.placed")
    await seeding.process()
    before = await content(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    script, strict = await asyncio.gather(run("doctor", "--json", **given), run("doctor", "--strict", **given))
    answer = json.loads(script.output)
    assert {finding["name"] for finding in answer["findings"]} == ALL
    assert [finding for finding in answer["findings"] if finding["status"] != "ok"] == []
    assert (answer["healthy"], script.status, strict.status) == (True, 0, 0)
    assert strict.output.endswith(f"{len(ALL)} ok, 0 to look at, 0 failed\n")
    assert await content(connection) == before


async def test_the_status_tells_scripts_and_the_mend_tells_people(
    run: Run, connection: Any, clean_database: str
) -> None:
    await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    fine, strict, settings, app, nowhere = await asyncio.gather(
        run("doctor", **given),
        run("doctor", "--strict", "--json", **given),
        run("doctor", **given, EVENTS_LEASE="0", EVENTS_NOSUCH="1"),
        run("doctor", EVENTS_APP="breaking:events"),
        run("doctor", "--json", EVENTS_APP="nosuch:events"),
    )
    assert [one.status for one in (fine, strict, settings, app, nowhere)] == [0, 1, 1, 1, 1]
    assert "warn  dead letters           5 dead letters." in fine.output
    assert "→ See 'fastapi-events dlq groups'" in fine.output
    assert json.loads(strict.output)["healthy"] is False
    assert "fail  settings" in settings.output
    assert "EVENTS_LEASE" in settings.output
    assert "EVENTS_NOSUCH" in settings.output
    assert "fail  application            ZeroDivisionError: division by zero" in app.output
    assert [finding["name"] for finding in json.loads(nowhere.output)["findings"]] == ["application"]
    assert "Traceback" not in "".join(one.output + one.errors for one in (fine, strict, settings, app, nowhere))


async def test_a_server_that_is_not_there_and_a_schema_that_is_not(new_database: NewDatabase) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        found = await findings(made(f"postgresql://shop:gehe1m@127.0.0.1:{port}/orders"))
    told(found["database"], "fail", "cannot be reached", "Start PostgreSQL there")
    assert "gehe1m" not in str(found)
    url = await new_database(schema=False)
    found = await findings(made(url))
    told(found["schema"], "fail", "'events' is not installed", "Run 'fastapi-events db upgrade'")
    assert "cluster" not in found
    found = await findings(made(None))
    told(found["database"], "fail", "No database is given", "Correct")


async def test_a_newer_and_an_older_schema(new_database: NewDatabase) -> None:
    url = await new_database()
    await run_once(url, f"UPDATE events.schema_version SET version = {schema.LATEST + 1}")
    told((await findings(made(url)))["schema"], "warn", f"this release knows {schema.LATEST}")
    await run_once(url, "UPDATE events.schema_version SET version = -1")
    told((await findings(made(url)))["schema"], "fail", "has version -1; this release needs", "db upgrade")


async def test_a_restored_copy_and_tables_left_out_by_autovacuum(new_database: NewDatabase) -> None:
    url = await new_database()
    await run_once(url, "ALTER TABLE events.delivery SET (autovacuum_enabled = false)")
    await run_once(url, "UPDATE events.installation SET system_identifier = 7")
    found = await findings(made(url))
    told(found["cluster"], "fail", "made on the PostgreSQL cluster 7", "'fastapi-events db rebase'")
    told(found["vacuumed tables"], "warn", "switched off for delivery", "autovacuum_enabled")
    assert "workers" not in found


async def test_a_log_without_room(new_database: NewDatabase) -> None:
    url = await new_database()
    await run_once(url, "SELECT setval('events.event_position', 33554432 - 5000000)")
    told((await findings(made(url)))["log"], "warn", "has room for 5,000,000 more", "db maintain")
    await run_once(url, "SELECT setval('events.event_position', 33554432 - 1000)")
    told((await findings(made(url)))["log"], "fail", "1,000 more events; then publishing fails", "db maintain")


@pytest_asyncio.fixture
async def stranger(server_url: str) -> AsyncIterator[str]:
    """A role that may connect and do no more."""
    role = f"events_patient_{os.getpid()}"
    await run_once(server_url, f"CREATE ROLE {role} LOGIN PASSWORD 'x' NOSUPERUSER")
    yield role
    await run_once(server_url, f"DROP ROLE {role}")


async def test_a_role_that_lacks_rights(new_database: NewDatabase, stranger: str) -> None:
    url = await new_database()
    parts = urlsplit(url)
    as_stranger = urlunsplit(parts._replace(netloc=f"{stranger}:x@{parts.netloc.rpartition('@')[2]}"))
    try:
        found = await findings(made(as_stranger))
        told(found["database"], "fail", "permission denied for schema", "db grant ROLE")
        await run_once(url, schema.grants("events", stranger))
        await run_once(url, f"REVOKE INSERT ON events.event FROM {stranger}")
        await run_once(url, f"REVOKE USAGE ON SEQUENCE events.event_position FROM {stranger}")
        found = await findings(made(as_stranger))
        told(found["rights"], "fail", "INSERT on event, USAGE on event_position", f"db grant {stranger}")
        await run_once(url, schema.grants("events", stranger))
        found = await findings(made(as_stranger))
        told(found["rights"], "ok", "may publish and handle")
        told(found["owner"], "ok", "does not own the log")
    finally:
        await run_once(url, f"DROP OWNED BY {stranger}")


async def test_the_work_and_who_does_it(connection: Any, clean_database: str) -> None:
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    told((await findings(made(clean_database)))["workers"], "warn", "No live process", "Start one")
    await seeding.event("bakery.order.placed", {})
    told((await findings(made(clean_database)))["workers"], "fail", "Events wait", "Start a worker")
    await seeding.handler("bakery.bake", "bakery.order.placed")
    await seeding.process(wake_up="polling", host="deaf", pid=4)
    gone = await seeding.handler("bakery.gone", "bakery.*")
    event = await seeding.event("bakery.order.placed", {}, aggregate_id="1")
    await seeding.delivery(event, "bakery.gone", "waiting", "no_handler")
    await seeding.delivery(event, "bakery.bake", "dead", "max_attempts")
    assert gone
    found = await findings(made(clean_database))
    told(found["workers"], "ok", "1 live process")
    told(found["wake-up"], "warn", "deaf:4", "listener")
    told(found["missing handlers"], "warn", "No live process has bakery.gone", "handlers retire ID")
    told(found["no_handler deliveries"], "warn", "bakery.gone (1 waiting)", "Start a process")
    told(found["dead letters"], "warn", "1 dead letter.", "dlq redrive")
    told(found["parked keys"], "warn", "1 of bakery.bake", "on_dead='continue'")
    told(found["connections"], "ok", "1 live process may open 26 of")
    await connection.execute("UPDATE events.worker SET connections = 20000")
    told((await findings(made(clean_database)))["connections"], "fail", "may open 20012 of", "max_connections")


class Unheard(Event, name="aa.word.unheard"):
    pass


class Noted(Event, name="aa.word.noted", tier="audit"):
    pass


async def test_the_application_and_its_settings(connection: Any, clean_database: str) -> None:
    patient = Module("patient")

    @patient.on("aa.*.heard", retry=Retry(50))
    async def hear(event: object) -> None: ...

    found = await findings(made(clean_database, patient, processing_retention=60, enabled=False))
    told(found["handlers"], "fail", "handler 'patient.hear' may be retried for", "Correct")
    told(found["enabled"], "warn", "EVENTS_ENABLED is false", "Unset it")
    told(found["unhandled events"], "warn", "aa.word.unheard", "Include the module")
    assert "aa.word.noted" not in found["unhandled events"].message
    seeding = await Seeding.on(connection)
    await seeding.group("another")
    await seeding.handler("another.hears", "aa.word.*")
    elsewhere = (await findings(made(clean_database, patient)))["unhandled events"]
    assert "aa.word.unheard" not in elsewhere.message
    told(found["dashboard"], "ok", "closed to everybody")
    told((await findings(made(clean_database, authorize=lambda: None)))["dashboard"], "ok", "authorize")


async def test_a_dashboard_that_is_open_to_everybody(clean_database: str) -> None:
    told((await findings(made(clean_database, development=True)))["dashboard"], "warn", "open", "unset it")
    guarded = made(clean_database, development=True, authorize=lambda: None)
    told((await findings(guarded))["dashboard"], "ok", "whom authorize lets in")
    remote = made("postgresql://app@db.example.invalid/shop", development=True)
    async for finding in examine(remote):
        if finding.name == "dashboard":
            told(finding, "fail", "the database is on another machine", "Events(authorize=…)")
            break


async def test_sessions_of_another_database(clean_database: str, server_url: str) -> None:
    engines = [create_async_engine(sqlalchemy_url(url)) for url in (clean_database, url_of(server_url, "postgres"))]
    same, other = [made(clean_database, sessions=async_sessionmaker(engine)) for engine in engines]
    try:
        told((await findings(same))["sessions"], "ok", "one database")
        told((await findings(other))["sessions"], "fail", "of the database 'postgres'", "the same database")
    finally:
        for engine in engines:
            await engine.dispose()


async def test_a_pooler_between(clean_database: str, pooler: PgBouncer) -> None:
    unknown = await findings(made(pooler.url))
    told(unknown["pooler"], "fail", "EVENTS_PGBOUNCER is not set", "EVENTS_PGBOUNCER=true")
    told(unknown["listen"], "fail", "leads through a pooler", "EVENTS_LISTEN_DATABASE_URL")
    deaf = await findings(made(pooler.url, pgbouncer=True))
    told(deaf["pooler"], "ok", "as EVENTS_PGBOUNCER says")
    told(deaf["listen"], "warn", "nothing is heard", "EVENTS_LISTEN_DATABASE_URL")
    right = await findings(made(pooler.url, pgbouncer=True, listen_database_url=clean_database))
    told(right["listen"], "ok", "has arrived")
    told((await findings(made(clean_database, pgbouncer=True)))["pooler"], "warn", "connected to directly", "Unset")
    told((await findings(made(clean_database, notify="off")))["listen"], "warn", "EVENTS_NOTIFY is off")


async def test_listening_at_another_server_hears_nothing(clean_database: str, server_url: str) -> None:
    elsewhere = url_of(server_url, "postgres")  # notifications stay in their database
    found = await findings(made(clean_database, listen_database_url=elsewhere))
    told(found["listen"], "fail", "did not arrive within", "EVENTS_LISTEN_DATABASE_URL")
    found = await findings(made(clean_database, listen_database_url="postgresql://app@127.0.0.1:1/shop"))
    told(found["listen"], "fail", "does not serve", "EVENTS_LISTEN_DATABASE_URL")


async def test_open_transactions_are_seen(clean_database: str, connection: Any) -> None:
    holder = await asyncpg.connect(clean_database, server_settings={"application_name": "forgotten"})
    examination = Examination(connection, Statements())
    try:
        async with holder.transaction():
            await holder.execute("SELECT pg_current_xact_id()")
            seen = [row["name"] for row in await examination.horizon(old=0)]
            assert [name for name in seen if name.startswith("forgotten, pid ")]
            assert not [row for row in await examination.horizon() if row["name"].startswith("forgotten")]
    finally:
        await holder.close()


SERVER: Mapping[str, Any] = {
    "version_number": 180_001, "version": "18.1", "standby": False, "moment": datetime(2030, 1, 1, tzinfo=UTC),
    "autovacuum": True, "notify_queue": 0.0, "usable_connections": 97, "connections": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changed", "status", "part"),
    [
        ("version", {"version_number": 130_012, "version": "13.12"}, "fail", "PostgreSQL 13.12 is too old"),
        ("primary", {"standby": True}, "fail", "standby"),
        ("clock", {"moment": datetime(2030, 1, 1, 0, 1, tzinfo=UTC)}, "warn", "differ by 59.0 s"),
        ("clock", {"moment": datetime(2029, 12, 31, 23, 59, tzinfo=UTC)}, "warn", "differ by 60.0 s"),
        ("autovacuum", {"autovacuum": False}, "fail", "Autovacuum is off"),
        ("notification queue", {"notify_queue": 0.2}, "warn", "20%"),
        ("notification queue", {"notify_queue": 0.9}, "fail", "90%"),
    ],
)
def test_what_a_server_may_be(name: str, changed: Mapping[str, Any], status: str, part: str) -> None:
    before = datetime(2030, 1, 1, tzinfo=UTC)
    span = {"before": before, "after": before + timedelta(seconds=1)}
    assert {finding.status for finding in server_findings(SERVER, **span)} == {"ok"}
    found = {finding.name: finding for finding in server_findings({**SERVER, **changed}, **span)}
    told(found[name], status, part)
    assert found[name].mend


def test_connections_horizon_and_poolers() -> None:
    told(connection_finding(SERVER, 40, 2), "ok", "2 live processes may open 40 of 97 connections; 5 are in use.")
    told(connection_finding(SERVER, 98, 7), "fail", "98 of 97", "max_connections")
    told(connection_finding({**SERVER, "connections": 95}, 10, 1), "warn", "95 are in use", "max_connections")
    assert [finding.status for finding in horizon_findings([])] == ["ok", "ok"]
    rows = [
        {"kind": "transaction", "name": "report, pid 7", "age": 7_300},
        {"kind": "prepared", "name": "two-phase", "age": 90_000},
        {"kind": "idle slot", "name": "replica_2", "age": 2_000_000},
    ]
    old, slots = horizon_findings(rows)
    told(old, "warn", "report, pid 7 (2h), two-phase (25h)", "pg_terminate_backend")
    told(slots, "warn", "idle slot replica_2 (2,000,000 transactions)", "pg_drop_replication_slot")
    assert pooler_finding(pooled=False, pgbouncer=False).status == "ok"
