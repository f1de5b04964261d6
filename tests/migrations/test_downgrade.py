"""Alembic asks nobody before it steps back: the step that drops the log refuses while there is anything in it."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine

from fastapi_events.errors import OperationRefused
from fastapi_events.store import schema
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.schema.alembic_steps import downgrade_step
from tests.conftest import NewDatabase
from tests.delivery.stage import Placed, Stage
from tests.migrations.test_schema import MIGRATIONS, alembic, own_project

ASKED = ("-x", "fastapi_events_drop=yes")


async def run(*arguments: str, folder: Path | None = None, url: str | None = None) -> str:
    return await asyncio.to_thread(alembic, *arguments, folder=folder, url=url)


async def publish_one(url: str) -> None:
    stage = Stage(url)
    events = await stage.running()
    await events.publish(Placed(order="a", number=1))
    await stage.close()


async def count(url: str) -> int | None:
    """The number of events; None if the log is gone."""
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("SELECT to_regclass('events.event') IS NULL"):
            return None
        return int(await connection.fetchval("SELECT count(*) FROM events.event"))
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def in_one_line(refusal: pytest.ExceptionInfo[AssertionError]) -> str:
    """What Alembic's command line said, if it was its line for an error and no traceback."""
    said = str(refusal.value)
    assert "FAILED" in said
    assert "Traceback" not in said
    return " ".join(said.split())


async def test_no_way_back_of_the_users_alembic_drops_events_unasked(new_database: NewDatabase, tmp_path: Path) -> None:
    url = await new_database(schema=False)
    await asyncio.to_thread(own_project, tmp_path, url)
    await run("upgrade", "heads", folder=tmp_path)
    await publish_one(url)
    for target in ("fastapi_events@base", "fastapi_events@-1", "base"):
        with pytest.raises(AssertionError) as refusal:
            await run("downgrade", target, folder=tmp_path)
        said = in_one_line(refusal)
        assert "drop the event log" in said
        assert "'events' rows are in event" in said
        assert "alembic downgrade shop@-1" in said
        assert "-x fastapi_events_drop=yes" in said
        assert await count(url) == 1
    await run("downgrade", "shop@-1", folder=tmp_path)
    assert "mine" not in await run("current", "--verbose", folder=tmp_path)
    assert await count(url) == 1
    with pytest.raises(AssertionError):  # whichever branch it means, the only one left is the library's
        await run("downgrade", "-1", folder=tmp_path)
    assert await count(url) == 1
    with pytest.raises(AssertionError):
        await run("-x", "fastapi_events_drop=no", "downgrade", "-1", folder=tmp_path)
    await run(*ASKED, "downgrade", "base", folder=tmp_path)
    assert await count(url) is None


async def test_an_empty_log_may_go_and_a_record_without_events_may_not(new_database: NewDatabase) -> None:
    configuration = ("-c", str(MIGRATIONS / "alembic.ini"))
    url = await new_database(schema=False)
    await run(*configuration, "upgrade", "head", url=url)
    stage = Stage(url)
    await stage.running()  # a group, a worker and its cursors are nothing to keep
    await stage.close()
    await execute(url, "INSERT INTO events.operator_action (id, action, actor, target) VALUES "
                       "(gen_random_uuid(), 'redrive', 'ana', 'one')")  # fmt: skip
    with pytest.raises(AssertionError, match="rows are in operator_action"):
        await run(*configuration, "downgrade", "base", url=url)
    await execute(url, "DELETE FROM events.operator_action")
    await run(*configuration, "downgrade", "base", url=url)
    assert await count(url) is None


async def test_a_printed_script_refuses_by_itself_unless_it_was_made_to_drop(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    url = await new_database(schema=False)
    await asyncio.to_thread(own_project, tmp_path, url)
    await run("upgrade", "heads", folder=tmp_path)
    await publish_one(url)
    way = ("downgrade", "fastapi_events@fastapi_events_0001:fastapi_events@base", "--sql")
    script, asked = await run(*way, folder=tmp_path), await run(*ASKED, *way, folder=tmp_path)
    with pytest.raises(
        asyncpg.RaiseError, match=r"drops the event log of the schema \"events\".* hold rows, event\."
    ) as e:
        await execute(url, script)
    assert "-x fastapi_events_drop=yes" in str(e.value.hint)
    assert await count(url) == 1
    await execute(url, asked)
    assert await count(url) is None
    again = await new_database()
    await execute(again, re.sub(r"\n[^\n]*alembic_version[^;]*;", "\n", script))
    assert await count(again) is None


async def test_events_that_come_after_the_look_are_not_lost(new_database: NewDatabase) -> None:
    """A publisher whose transaction is open during the look: the step waits for it, and then refuses all the same."""
    url = await new_database()
    publisher = await asyncpg.connect(url)
    transaction = publisher.transaction()
    await transaction.start()
    await publisher.execute("INSERT INTO events.event_key (event_id, position) VALUES (gen_random_uuid(), 1)")
    step = asyncio.create_task(asyncio.to_thread(step_back, url))
    waiting = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE NOT granted AND datname = "
    )
    async with asyncio.timeout(30):
        while not await publisher.fetchval(f"{waiting} current_database()"):
            assert not step.done(), step.exception()
            await asyncio.sleep(0.02)
    await transaction.commit()
    await publisher.close()
    with pytest.raises(Exception, match="hold rows, event_key"):
        await step
    assert await count(url) == 0


async def test_a_revision_of_ones_own_says_so_in_code(new_database: NewDatabase) -> None:
    url = await new_database()
    await publish_one(url)
    with pytest.raises(OperationRefused, match=r"downgrade_step\(1, drop_events=True\)"):
        await asyncio.to_thread(step_back, url)
    assert await count(url) == 1
    await asyncio.to_thread(step_back, url, drop_events=True)
    assert await count(url) is None
    connection = await asyncpg.connect(url)
    assert await schema.current_version(connection) == 0
    await connection.close()


def step_back(url: str, *, drop_events: bool = False) -> None:
    """The step without Alembic's environment, as a program of one's own may take it."""
    engine = create_engine(sqlalchemy_url(url, "psycopg"))
    try:
        with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
            downgrade_step(1, drop_events=drop_events)
    finally:
        engine.dispose()
