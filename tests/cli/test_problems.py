"""What goes wrong is told in a line or two: where, in the server's own words, and how to mend it."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio

from fastapi_events.cli.database_problems import Address
from tests.cli.conftest import Done, Run
from tests.conftest import NewDatabase, run_once, url_of

WORKER = ("worker", "--app", "shop.events:events")
PASSWORD = "gehe1m"


def told(done: Done, *parts: str) -> str:
    """Check that a command failed in two lines at most, which hold these parts."""
    assert done.status == 1, done
    text = done.errors.strip()
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 2, text
    assert PASSWORD not in text
    assert not [part for part in parts if part not in text], text
    return text


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture
async def stranger(server_url: str) -> AsyncIterator[str]:
    """A role that may connect and do no more."""
    role = f"events_stranger_{os.getpid()}"
    await run_once(server_url, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' NOSUPERUSER")
    yield role
    await run_once(server_url, f"DROP ROLE {role}")


async def test_a_server_that_is_not_there(run: Run, closed_port: int) -> None:
    url = f"postgresql://shop:{PASSWORD}@127.0.0.1:{closed_port}/orders"
    place = f"127.0.0.1:{closed_port}, database 'orders', role 'shop'"
    worker, check = await asyncio.gather(
        run(*WORKER, EVENTS_DATABASE_URL=url), run("db", "check", "--database-url", url)
    )
    told(worker, "cannot be reached", place, "Start PostgreSQL there, or correct database_url (EVENTS_DATABASE_URL)")
    told(check, "cannot be reached", place, "Start PostgreSQL there, or correct --database-url")


async def test_an_unknown_database_and_an_unknown_role(run: Run, server_url: str) -> None:
    nowhere, nobody = url_of(server_url, "nosuch"), as_role(server_url, "nobody_at_all")
    commands = [
        run(*WORKER, EVENTS_DATABASE_URL=nowhere),
        run("db", "check", EVENTS_DATABASE_URL=nowhere),
        run(*WORKER, EVENTS_DATABASE_URL=nobody),
        run("db", "check", EVENTS_DATABASE_URL=nobody),
    ]
    unknown = await asyncio.gather(*commands)
    for done in unknown[:2]:
        told(done, "database 'nosuch'", 'database "nosuch" does not exist', "Create the database (createdb)")
    for done in unknown[2:]:
        told(done, "role 'nobody_at_all'", '"nobody_at_all"', "Correct the role or its password")


async def test_a_role_without_rights(run: Run, new_database: NewDatabase, stranger: str) -> None:
    url, empty = as_role(await new_database(), stranger), as_role(await new_database(schema=False), stranger)
    worker, check, upgrade = await asyncio.gather(
        run(*WORKER, EVENTS_DATABASE_URL=url),
        run("db", "check", "--database-url", url),
        run("db", "upgrade", "--database-url", empty),
    )
    for done in (worker, check):
        told(done, "permission denied for schema events", "As the schema's owner, run 'fastapi-events db grant ROLE'")
    told(upgrade, "permission denied for database", "as a role that may create in this database")


async def test_grants_for_an_unknown_role_and_in_an_unknown_schema(
    run: Run, new_database: NewDatabase, stranger: str
) -> None:
    url, empty = await new_database(), await new_database(schema=False)
    unknown, uninstalled = await asyncio.gather(
        run("db", "grant", "nosuch", EVENTS_DATABASE_URL=url), run("db", "grant", stranger, EVENTS_DATABASE_URL=empty)
    )
    told(unknown, 'role "nosuch" does not exist', "make the role first")
    told(uninstalled, 'schema "events" does not exist', "Run 'fastapi-events db upgrade' first")


async def test_a_url_that_is_none_is_told_as_the_setting_is(run: Run) -> None:
    garbage, other, setting = await asyncio.gather(
        run("db", "check", "--database-url", "garbage"),
        run("db", "check", "--database-url", f"mysql://x:{PASSWORD}@host/y"),
        run(*WORKER, EVENTS_DATABASE_URL="garbage"),
    )
    for done in (garbage, other, setting):
        told(done, "SettingsError", "it must be a URL that begins with postgresql://")


async def test_what_the_driver_does_not_understand(run: Run, server_url: str) -> None:
    joint = "&" if "?" in server_url else "?"
    done = await run("db", "check", "--database-url", f"{server_url}{joint}sslmode=nonsense")
    told(done, "No connection to the database", "sslmode", "Correct --database-url")


async def test_without_any_database_the_ways_to_name_one_are_told(run: Run) -> None:
    done = await run("db", "check")
    told(done, "Which database?", "--database-url", "EVENTS_DATABASE_URL", "--app module:attribute", "EVENTS_APP")


async def test_an_app_given_beside_a_url_gives_its_settings(run: Run, new_database: NewDatabase, project: Path) -> None:
    (project / "own.py").write_text(
        "from fastapi_events import Events, EventsSettings\nevents = Events(settings=EventsSettings(schema='own'))\n"
    )
    url = await new_database()
    done = await run("db", "check", "--app", "own:events", "--database-url", url)
    told(done, "The schema 'own' is not installed")


async def test_versions_that_there_are_not(run: Run, new_database: NewDatabase) -> None:
    url = await new_database()
    up, down, below = await asyncio.gather(
        run("db", "upgrade", "--target", "9", EVENTS_DATABASE_URL=url),
        run("db", "downgrade", "9", EVENTS_DATABASE_URL=url),
        run("db", "downgrade", "--yes", "--", "-1", EVENTS_DATABASE_URL=url),
    )
    told(up, "SettingsError: There is no schema version 9: this release knows versions 0 to ")
    told(down, "SettingsError: There is no schema version 9: this release knows versions 0 to ")
    told(below, "SettingsError: There is no schema version -1")
    assert "Go back" not in down.output


def test_a_place_is_told_without_its_password() -> None:
    address = Address(f"postgresql+asyncpg://shop:{PASSWORD}@[::1]/orders%20old", "here")
    assert address.place == "::1:5432, database 'orders old', role 'shop'"
    assert Address("postgresql:///orders?host=/run/pg&port=5433&user=shop&password=x", "here").place == (
        "/run/pg:5433, database 'orders', role 'shop'"
    )


async def test_help_shows_the_table_of_pyproject(run: Run) -> None:
    for command in (("worker",), ("db", "check")):
        shown = re.sub(r"[\s│]+", " ", (await run(*command, "--help")).output)
        assert "else EVENTS_APP, else [tool.fastapi_events] app)" in shown
