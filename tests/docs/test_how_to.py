"""What the how-to pages promise of their examples."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from typer.testing import CliRunner

from alembic import config as alembic_config
from fastapi_events import Event, EventPublisher, Events, publisher_on
from fastapi_events.cli.commands import app as command_line
from fastapi_events.errors import PublishError, SchemaOutOfDate
from fastapi_events.store import schema
from tests.conftest import NewDatabase
from tests.docs.pages import Project, blocks_of
from tests.docs.serving import execute, served, until
from tests.testing_kit.projects import run_tests

Made = Callable[[str], Project]


def test_testing(project: Made, server_url: str) -> None:
    """The files of tests, in one run: what was started on one event loop is started again on the next."""
    folder = project("docs/how-to/testing.md").folder
    done = run_tests(folder, server_url=server_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout


def test_testing_in_memory_through_the_app(project: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project("docs/how-to/testing-in-memory.md").folder
    monkeypatch.delenv("EVENTS_DATABASE_URL")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


async def test_own_session(project: Made, clean_database: str) -> None:
    page = project("docs/how-to/own-session.md")
    async with served(page.load("shop.main").app) as client:
        (await client.post("/orders/10")).raise_for_status()
        (await client.post("/orders/20/carefully")).raise_for_status()
        (await client.post("/orders/30/later")).raise_for_status()
    assert await published(clean_database) == [{"order_id": n} for n in (10, 21, 30, 31)]
    await page.run_snippets()
    assert await published(clean_database) == [{"order_id": n} for n in (10, 21, 30, 31, 1, 2, 3)]


@pytest.mark.parametrize("scope", ["request", "function"])
async def test_own_session_in_a_background_task(
    scope: Literal["request", "function"], clean_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's table: what each way to publish does after the endpoint has returned."""
    monkeypatch.setenv("EVENTS_DATABASE_URL", clean_database)
    engine = create_async_engine(clean_database.replace("postgresql://", "postgresql+asyncpg://"))
    maker = async_sessionmaker(engine, expire_on_commit=False)

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with maker() as session:
            yield session

    session_dep = Annotated[AsyncSession, Depends(get_session, scope=scope)]
    events, app = Events(sessions=maker), FastAPI()
    app.include_router(events.router)
    results: list[str] = []

    class Told(Event, name="docs.thing.told"):
        pass

    async def attempt(publish: Any, **options: bool) -> None:
        try:
            await publish(Told(), **options)
            results.append("committed" if publish == events.publish else "published")
        except PublishError as error:
            results.append(type(error).__name__)

    @app.post("/")
    async def endpoint(
        tasks: BackgroundTasks,
        session: session_dep,
        publish: Annotated[EventPublisher, Depends(publisher_on(session_dep))],
    ) -> None:
        tasks.add_task(attempt, events.publish)
        tasks.add_task(attempt, events.publish, detached=True)
        tasks.add_task(attempt, publish)
        tasks.add_task(session.rollback)

    async with served(app) as client:
        (await client.post("/")).raise_for_status()
    await engine.dispose()
    assert (
        results
        == {
            "request": ["DetachedPublish", "committed", "published"],
            "function": ["committed", "committed", "SessionClosed"],
        }[scope]
    )


async def test_sync_endpoints(project: Made, clean_database: str) -> None:
    shop = project("docs/how-to/sync-endpoints.md").load("shop.sync")
    async with served(shop.app) as client:
        (await client.post("/orders/1")).raise_for_status()

        async def marked() -> Any:
            return shop.handled and await execute(clean_database, "SELECT 1 FROM events.processing_mark")

        await until(marked)
    assert shop.handled == [1]
    shop.engine.dispose()


async def test_asyncpg(project: Made, clean_database: str) -> None:
    names = await project("docs/how-to/asyncpg.md").run_snippets()
    assert "no open transaction" in names["refused"]
    assert await published(clean_database) == [{"order_id": 1}]


async def test_webhooks(project: Made) -> None:
    notice = {"id": "n-1", "payment_id": "p-1", "cents": 500}
    async with served(project("docs/how-to/webhooks.md").load("shop.webhooks").app) as client:
        answers = [(await client.post("/webhooks/payments", json=notice)).json() for _ in range(2)]
    assert answers == [{"known_already": False}, {"known_already": True}]


@pytest.mark.parametrize(("module", "attribute", "root"), [("shop.main", "app", ""), ("shop.site", "site", "/shop")])
async def test_dashboard_access(project: Made, module: str, attribute: str, root: str) -> None:
    """In the app, and mounted in another one."""
    app = getattr(project("docs/how-to/dashboard-access.md").load(module), attribute)
    async with served(app) as client:
        staff = {"Authorization": "Bearer s3cret"}
        assert (await client.get(f"{root}/events/api/overview")).status_code == 401
        assert (await client.get(f"{root}/events/api/overview", headers=staff)).status_code == 200
        assert (await client.get(f"{root}/events/dashboard", headers=staff)).status_code == 200
        assert (await client.get(f"{root}/events/health/ready")).json()["drain"] == "running"


async def test_tenants(project: Made, clean_database: str) -> None:
    page = project("docs/how-to/tenants.md")
    shop = page.load("shop.main")
    async with served(shop.app) as client:
        (await client.post("/orders/7", headers={"X-Api-Key": "k-1"})).raise_for_status()

        async def shipped() -> Any:
            return await execute(clean_database, "SELECT 1 FROM events.event WHERE name = 'orders.order.shipped'")

        await until(shipped)
        found = {}
        for key in ("k-1", "k-2", "k-staff"):
            page_of_events = await client.get("/events/api/events", headers={"X-Api-Key": key})
            found[key] = [event["tenant_id"] for event in page_of_events.json()["events"]]
        assert found == {"k-1": ["acme", "acme"], "k-2": [], "k-staff": ["acme", "acme"]}
        assert (await client.get("/events/api/workers", headers={"X-Api-Key": "k-1"})).status_code == 403
    names = await page.run_snippets()
    rows = await execute(clean_database, "SELECT tenant_id FROM events.event WHERE payload ->> 'order_id' < '4'")
    assert {row["tenant_id"] for row in rows} == {"acme", "nordwind", None}
    assert {event.tenant_id for event in names["page"].events} == {"acme"}


async def test_privacy(project: Made, clean_database: str) -> None:
    names = await project("docs/how-to/privacy.md").run_snippets()
    assert names["ahead"] == names["done"]
    assert (names["done"].found, names["done"].events, names["done"].deliveries) == (1, 1, 1)
    [action] = await execute(clean_database, "SELECT target FROM events.operator_action")
    assert action["target"] == f"customer/{names['fingerprint']}"


async def test_migrations_by_alembic(project: Made, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a branch beside the user's own revisions, and from one of those: whichever comes first."""
    page, url = project("docs/how-to/migrations.md"), await new_database(schema=False)
    monkeypatch.setenv("EVENTS_DATABASE_URL", url)
    (page.folder / "migrations" / "env.py").write_text(_ENVIRONMENT)
    template = Path(alembic_config.__file__).parent / "templates" / "generic" / "script.py.mako"
    (page.folder / "migrations" / "script.py.mako").write_text(template.read_text())
    *lines, last = commands("docs/how-to/migrations.md", "alembic")
    for number, line in enumerate(lines):
        monkeypatch.setenv("TABLES", " ".join(f"table_{each}" for each in range(number + 1)))
        await run(*shlex.split(line))
    assert len(list((page.folder / "migrations" / "versions").glob("*table*.py"))) == 2
    assert await version(url) == schema.LATEST
    assert await execute(url, "SELECT to_regclass('table_1') IS NOT NULL AND to_regclass('table_3') IS NULL") == [
        (True,)
    ]
    await handle_something(url)
    with pytest.raises(SystemExit):
        await run("alembic", "downgrade", "fastapi_events@base")
    assert await version(url) == schema.LATEST
    assert "fastapi_events_drop" in last
    await run(*shlex.split(last))
    assert await version(url) == 0


async def test_migrations_by_command(new_database: NewDatabase) -> None:
    url = await new_database(schema=False)
    await execute(url, "DROP ROLE IF EXISTS shop_app")
    await execute(url, "CREATE ROLE shop_app LOGIN PASSWORD 'secret'")
    try:
        for line in commands("docs/how-to/migrations.md", "fastapi-events"):
            if "--database-url" in line:
                words = line.split()
                await run(*words[: words.index("--database-url")], "--database-url", url, *_yes(words))
        assert await version(url) == schema.LATEST
        role = urlsplit(url)._replace(netloc=f"shop_app:secret@{urlsplit(url).netloc.rpartition('@')[2]}")
        await handle_something(urlunsplit(role))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(urlunsplit(role), "CREATE TABLE events.mine (id int)")
    finally:
        await execute(url, "DROP OWNED BY shop_app")
        await execute(url, "DROP ROLE shop_app")


async def test_an_older_schema_is_refused(new_database: NewDatabase) -> None:
    with pytest.raises(SchemaOutOfDate, match="db upgrade"):
        await handle_something(await new_database(schema=False))


async def handle_something(url: str) -> None:
    """Publish and handle with a role."""
    from fastapi_events import Event, Events, EventsSettings

    class Happened(Event, name="docs.thing.happened"):
        pass

    handled: list[Happened] = []
    events = Events(settings=EventsSettings(database_url=url))

    @events.on(Happened)
    async def note(event: Happened) -> None:
        handled.append(event)

    await events.start(drains=False)
    try:
        await events.publish(Happened())
        await events.drain_once()
    finally:
        await events.stop()
    assert len(handled) == 1


async def published(url: str) -> list[Any]:
    rows = await execute(url, "SELECT payload FROM events.event ORDER BY position")
    return [json.loads(row["payload"]) for row in rows]


async def version(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return await schema.current_version(connection)
    finally:
        await connection.close()


def commands(page: str, program: str) -> list[str]:
    lines = [line[2:] for block in blocks_of(page, "console") for line in block.text.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


async def run(program: str, *arguments: str) -> None:
    """Run a command in a thread of this process: a process of its own would spend a second on importing."""
    if program == "alembic":
        await asyncio.to_thread(alembic_config.main, arguments)
        return
    done = await asyncio.to_thread(CliRunner().invoke, command_line, arguments)
    assert done.exit_code == 0, (done.output, done.exception)


def _yes(words: list[str]) -> list[str]:
    return ["--yes"] if "--yes" in words else []


_ENVIRONMENT = """
import asyncio, os
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.ext.asyncio import create_async_engine

tables = MetaData()
for name in os.environ.get("TABLES", "").split():
    Table(name, tables, Column("id", Integer, primary_key=True))

def migrate(connection):
    context.configure(connection=connection, target_metadata=tables)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["EVENTS_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()

asyncio.run(main())
"""
