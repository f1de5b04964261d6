"""What all tests share: a server, a database with the schema, an empty database per test, a browser.

The server is the embedded one, or that of ``EVENTS_DATABASE_URL`` (its user must be a superuser). The schema is
installed once per run, in a template; the database of the run is a copy of it that every test finds empty: deleting
a test's rows takes a millisecond where making a database takes fifty.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

SERVER_URL = os.environ.get("EVENTS_DATABASE_URL")
# No test may depend on how the run was started.
for variable in [name for name in os.environ if name.startswith("EVENTS_")]:
    del os.environ[variable]

MEMORY = "/dev/shm"
MEMORY_NEEDED = 8 * 2**30
"""Bytes: three servers with 1 GB of log each, and the databases that tests of plans fill."""

NewDatabase = Callable[..., Awaitable[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a folder of its own: pytest's is shared by all runs of a user, and each start of one closes it to
    other accounts, as which a server that is started by root has to run."""
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        folder = os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.mkdtemp(prefix="events-tests-", dir=memory_folder())
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def memory_folder() -> str | None:
    """Where files are kept in memory, if there is plenty: on a disk the servers' files cost more than the tests do."""
    try:
        roomy = shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED
    except OSError:  # not every system has it
        return None
    return MEMORY if roomy and os.access(MEMORY, os.W_OK | os.X_OK) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests import distribution

    return distribution.scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        from tests import distribution

        distribution.longest_first(items)


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what was imported, which stays to the end, and many a walk over the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 100)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A URL of the server's maintenance database, for a superuser."""
    if SERVER_URL:
        yield SERVER_URL
        return
    from fastapi_events.embedded import EmbeddedServer

    server = EmbeddedServer()
    url = server.start(tmp_path_factory.mktemp("postgresql"), database="postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        # Processes are killed here, machines are not: nothing has to wait for the disk.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    yield url
    server.stop()


@pytest_asyncio.fixture(scope="session")
async def template(server_url: str) -> AsyncIterator[str]:
    """The name of a database with the newest schema and nothing in it."""
    from fastapi_events.store import schema

    name = f"events_template_{os.getpid()}"
    await run_once(server_url, f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(url_of(server_url, name))
    try:
        await schema.upgrade(connection)
    finally:
        await connection.close()
    yield name
    await run_once(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session")
async def database_url(server_url: str, template: str) -> AsyncIterator[str]:
    """The database of this run, with the schema; take ``clean_database`` instead to find it empty."""
    name = f"events_test_{os.getpid()}"
    await run_once(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield url_of(server_url, name)
    await run_once(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session")
async def cleaning(database_url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Empties every table that was empty when the schema had been installed."""
    connection = await asyncpg.connect(database_url, server_settings={"lock_timeout": "10s"})
    seeded = {name for name in await tables(connection) if await connection.fetchval(f"SELECT EXISTS (TABLE {name})")}
    cleaned: list[str] = []

    async def clean() -> None:
        names = [name for name in await tables(connection) if name not in seeded]
        if names != cleaned:  # a function, whose plans are kept
            deletes = "".join(f"DELETE FROM {name};" for name in names)
            await connection.execute(
                f"CREATE OR REPLACE FUNCTION pg_temp.clean() RETURNS void LANGUAGE plpgsql AS 'BEGIN {deletes} END'"
            )
            cleaned[:] = names
        # As a replica: no foreign key decides about the order.
        await connection.execute("BEGIN; SET LOCAL session_replication_role = replica; SELECT pg_temp.clean(); COMMIT")

    yield clean
    await connection.close()


@pytest_asyncio.fixture
async def clean_database(database_url: str, cleaning: Callable[[], Awaitable[None]]) -> str:
    """The database of this run, empty before the test; what the test leaves, the next one clears away."""
    await cleaning()
    return database_url


@pytest_asyncio.fixture
async def new_database(server_url: str, template: str) -> AsyncIterator[NewDatabase]:
    """Make a database for this test alone: ``await new_database()`` has the schema, ``(schema=False)`` has nothing."""
    made: list[str] = []

    async def make(*, schema: bool = True) -> str:
        name = f"events_own_{os.getpid()}_{len(made)}"
        made.append(name)
        await run_once(server_url, f"CREATE DATABASE {name} TEMPLATE {template if schema else 'template0'}")
        return url_of(server_url, name)

    yield make
    for name in made:
        await run_once(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator["Browser"]:
    """A headless Chromium: that on the PATH, or Playwright's own; without one the test is skipped."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # The shell first: a third of the work, for want of windows that nobody sees.
        names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        candidates = [*map(shutil.which, names), shutil.which(playwright.chromium.executable_path)]
        found = next(filter(None, candidates), None)
        if found is None:
            pytest.skip("NO CHROMIUM FOUND: install one on the PATH to run the browser tests")
        quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
        browser = await playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-quic", *quiet]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def page(browser: "Browser") -> AsyncIterator["Page"]:
    """A page of its own, without cookies; a script error on it fails the test."""
    context = await browser.new_context()
    page = await context.new_page()
    errors: list[str] = []

    def remember(error: Any) -> None:
        errors.append(str(error))

    page.on("pageerror", remember)
    yield page
    await context.close()
    assert not errors


async def run_once(url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def tables(connection: Any) -> list[str]:
    """Every table that is no partition of another, as it is written in SQL."""
    rows = await connection.fetch(
        """
        SELECT oid::regclass::text AS name
        FROM pg_class
        WHERE relkind IN ('r', 'p') AND NOT relispartition
          AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
          AND relpersistence <> 't'
        """
    )
    return [row["name"] for row in rows]


def url_of(url: str, database: str) -> str:
    """``url`` with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
