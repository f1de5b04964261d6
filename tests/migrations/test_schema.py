"""The schema by every way to it: start-up, command line, script, Alembic; up, down and beside others."""

import asyncio
import atexit
import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import fastapi_events
from fastapi_events import Events, EventsSettings, Module
from fastapi_events.errors import SchemaOutOfDate
from fastapi_events.store import schema
from tests.cli.forked import Forks
from tests.conftest import NewDatabase
from tests.delivery.stage import Placed, Stage, publish

MIGRATIONS = Path(fastapi_events.__file__).parent / "migrations"

CATALOG = """
    SELECT 'column' AS kind, c.table_name || '.' || c.column_name AS name,
           concat_ws(' ', c.data_type, c.is_nullable, c.column_default, c.is_identity) AS what
    FROM information_schema.columns c WHERE c.table_schema = 'events'
    UNION ALL
    SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'events'
    UNION ALL
    SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'events'::regnamespace
    UNION ALL
    SELECT 'table', relname, concat_ws(' ', relkind, relpersistence, reloptions::text, pg_get_expr(relpartbound, oid))
    FROM pg_class WHERE relnamespace = 'events'::regnamespace AND relkind IN ('r', 'p', 'S')
    ORDER BY 1, 2, 3
"""


async def catalog(url: str, *, without: str = "alembic_version") -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        rows = [tuple(row) for row in await connection.fetch(CATALOG)]
    finally:
        await connection.close()
    return [row for row in rows if without not in f"{row[1]} {row[2]}"]


async def upgrade(url: str, **options: Any) -> int:
    connection = await asyncpg.connect(url)
    try:
        return await schema.upgrade(connection, **options)
    finally:
        await connection.close()


@cache
def forks() -> Forks:
    """What runs Alembic's command line without starting Python anew."""
    made = Forks(dict(os.environ), "alembic")
    atexit.register(made.close)
    return made


def alembic(*arguments: str, url: str | None = None, folder: Path | None = None) -> str:
    environment = {**os.environ, **({"EVENTS_DATABASE_URL": url} if url else {})}
    status, output, errors = forks().run(list(arguments), folder or Path.cwd(), environment)
    assert status == 0, errors + output
    return output


def own_project(folder: Path, url: str) -> None:
    """A user's own Alembic with a revision of theirs on the branch ``shop``, and the library's as another branch."""
    from fastapi_events.store.database import sqlalchemy_url

    alembic("init", "own", folder=folder)
    (folder / "own" / "env.py").write_text(
        "import sqlalchemy\nfrom alembic import context\n"
        "if context.is_offline_mode():\n"
        "    context.configure(dialect_name='postgresql', literal_binds=True)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n"
        "    raise SystemExit\n"
        f"engine = sqlalchemy.create_engine({sqlalchemy_url(url, 'psycopg')!r})\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n"
    )
    own = (folder / "alembic.ini").read_text()
    places = "version_locations = own/versions fastapi_events:migrations/versions\npath_separator = space\n"
    own = "\n".join(line for line in own.splitlines() if not line.startswith("path_separator"))
    (folder / "alembic.ini").write_text(own.replace("[alembic]\n", f"[alembic]\n{places}", 1))
    first = ("--head=base", "--branch-label=shop", "--version-path=own/versions")
    alembic("revision", *first, "-m", "mine", folder=folder)


async def test_any_number_of_processes_may_upgrade_at_once(new_database: NewDatabase) -> None:
    for _ in range(3):
        url = await new_database(schema=False)
        versions = await asyncio.gather(*(upgrade(url) for _ in range(8)))
        assert set(versions) == {schema.LATEST}
    script = (
        "import asyncio, sys, asyncpg\nfrom fastapi_events.store import schema\n"
        "async def main():\n    print(await schema.upgrade(await asyncpg.connect(sys.argv[1])))\nasyncio.run(main())"
    )
    url = await new_database(schema=False)
    command = [sys.executable, "-c", script, url]
    runs = [asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60, check=False) for _ in range(3)]
    results = await asyncio.gather(*runs)
    assert [result.stdout.decode().strip() for result in results] == [str(schema.LATEST)] * 3, results


async def test_down_and_up_again_gives_the_same_schema_and_nothing_remains_at_the_bottom(
    new_database: NewDatabase,
) -> None:
    url = await new_database()
    before = await catalog(url)
    connection = await asyncpg.connect(url)
    assert await schema.downgrade(connection) == 0
    remains = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'events'::regnamespace AND relkind IN ('r', 'p', 'S')"
    )
    assert [row["relname"] for row in remains] in ([], ["schema_version"])
    with pytest.raises(SchemaOutOfDate):
        await schema.check(connection)
    assert await schema.upgrade(connection) == schema.LATEST
    assert await schema.upgrade(connection) == schema.LATEST
    await connection.close()
    assert await catalog(url) == before


async def test_a_schema_that_is_too_old_is_told_with_its_version_and_a_newer_one_is_taken(
    new_database: NewDatabase,
) -> None:
    url = await new_database()
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE events.schema_version SET version = $1", schema.LATEST + 1)
    await schema.check(connection)
    assert await schema.upgrade(connection) == schema.LATEST + 1
    before = await catalog(url)
    events = Events(settings=EventsSettings(database_url=url, auto_upgrade=True))
    await events.start()
    await events.stop()
    assert await catalog(url) == before
    await connection.execute("UPDATE events.schema_version SET version = 0")
    with pytest.raises(SchemaOutOfDate, match=r"'events' is not installed.*fastapi-events db upgrade"):
        await schema.check(connection)
    await connection.close()


async def test_the_printed_script_makes_what_upgrade_makes(new_database: NewDatabase) -> None:
    from fastapi_events.cli.commands import sql

    by_upgrade, by_script = await new_database(), await new_database(schema=False)
    output = io.StringIO()
    with redirect_stdout(output):
        sql()
    connection = await asyncpg.connect(by_script)
    await connection.execute(output.getvalue())
    await connection.close()
    assert await catalog(by_script) == await catalog(by_upgrade)


async def test_a_schema_of_another_name_and_number_of_partitions_works(new_database: NewDatabase) -> None:
    url = await new_database(schema=False)
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    events = Events(
        [module], settings=EventsSettings(database_url=url, schema="own_name", partitions=3, auto_upgrade=True)
    )
    await events.start(drains=False)
    await publish(events, [Placed(order=str(number), number=number) for number in range(20)])
    await events.drain_once()
    await events.stop()
    assert sorted(seen) == list(range(20))
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT max(partition) FROM own_name.event") == 2
    assert await connection.fetchval("SELECT to_regnamespace('events')") is None
    await connection.close()


def test_a_hostile_schema_name_is_refused() -> None:
    from fastapi_events.errors import SettingsError

    for name in ('x"; DROP TABLE y; --', "Upper", "pg_own", "", "a" * 64, "1st"):
        with pytest.raises(SettingsError):
            schema.ddl(name)


def test_a_number_of_partitions_that_cannot_be_is_refused() -> None:
    from fastapi_events.errors import SettingsError

    for number in (0, -1, 1025):
        with pytest.raises(SettingsError, match="1 to 1024 partitions"):
            schema.ddl(partitions=number)


async def test_versions_that_this_release_does_not_know_are_refused(new_database: NewDatabase) -> None:
    from fastapi_events.errors import SettingsError

    connection = await asyncpg.connect(await new_database())
    for version in (-1, schema.LATEST + 1):
        with pytest.raises(SettingsError, match=f"There is no schema version {version}:"):
            await schema.upgrade(connection, target=version)
        with pytest.raises(SettingsError, match=f"There is no schema version {version}:"):
            await schema.downgrade(connection, target=version)
    await connection.execute("UPDATE events.schema_version SET version = $1", schema.LATEST + 1)
    with pytest.raises(SchemaOutOfDate, match="Downgrade with the release that made it"):
        await schema.downgrade(connection)
    assert await schema.current_version(connection) == schema.LATEST + 1
    await connection.close()


async def test_alembic_takes_schema_and_partitions_from_the_environment(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_database(schema=False)
    monkeypatch.setenv("EVENTS_SCHEMA", "own_name")
    monkeypatch.setenv("EVENTS_PARTITIONS", "5")
    await asyncio.to_thread(alembic, "-c", str(MIGRATIONS / "alembic.ini"), "upgrade", "head", url=url)
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT partitions FROM own_name.installation") == 5
    await connection.close()


async def test_alembics_own_environment_goes_up_and_down(new_database: NewDatabase) -> None:
    url, reference = await new_database(schema=False), await new_database()
    configuration = str(MIGRATIONS / "alembic.ini")
    await asyncio.to_thread(alembic, "-c", configuration, "upgrade", "head", url=url)
    assert await catalog(url) == await catalog(reference)
    connection = await asyncpg.connect(url)
    await schema.check(connection)
    assert await schema.upgrade(connection) == schema.LATEST
    await connection.close()
    await asyncio.to_thread(alembic, "-c", configuration, "downgrade", "base", url=url)
    assert not [row for row in await catalog(url) if row[0] == "table" and row[1] != "schema_version"]


async def test_the_users_own_alembic_takes_the_revisions_as_a_branch(new_database: NewDatabase, tmp_path: Path) -> None:
    url, reference = await new_database(schema=False), await new_database()
    await asyncio.to_thread(own_project, tmp_path, url)
    await asyncio.to_thread(alembic, "upgrade", "heads", folder=tmp_path)
    assert await catalog(url) == await catalog(reference)
    await asyncio.to_thread(alembic, "downgrade", "fastapi_events@base", folder=tmp_path)
    assert not [row for row in await catalog(url) if row[0] == "table" and row[1] != "schema_version"]


async def test_a_role_that_owns_nothing_publishes_handles_retries_and_redrives(new_database: NewDatabase) -> None:
    from fastapi_events import EventPublisher, HandlerSession, Retry
    from tests.delivery.stage import Shipped

    url = await new_database()
    role = f"events_app_{os.getpid()}"
    owner = await asyncpg.connect(url)
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret' NOSUPERUSER")
    await owner.execute(schema.grants("events", role))
    module, seen, broken = Module("shop"), [], [True]

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        if broken[0]:
            raise ValueError("broken")
        await publish(Shipped(order=event.order))
        seen.append(event.number)

    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    stage = Stage(urlunsplit(parts._replace(netloc=f"{role}:secret@{address}")))
    try:
        events = await stage.running(module)
        await events.publish(Placed(order="a", number=1))
        for _ in range(500):
            if dead := (await events.observe.dead_letters()).dead_letters:
                break
            await asyncio.sleep(0.02)
        broken[0] = False
        await events.operations.redrive([dead[0].id], actor="me")
        for _ in range(500):
            if seen:
                break
            await asyncio.sleep(0.02)
        assert seen == [1]
        from fastapi_events.store.upkeep import UpkeepStore

        await UpkeepStore(events.runtime.database, events.runtime.statements).tidy()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with events.runtime.database.acquire() as connection:
                await connection.execute("DROP TABLE events.delivery")
    finally:
        await stage.close()
        await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await owner.close()


async def test_no_table_of_ours_is_emptied_by_a_crash(new_database: NewDatabase) -> None:
    connection = await asyncpg.connect(await new_database())
    kinds = await connection.fetchval(
        "SELECT array_agg(DISTINCT relpersistence::text) FROM pg_class WHERE relnamespace = 'events'::regnamespace"
    )
    await connection.close()
    assert kinds == ["p"]
