"""The printed script: from the options, else from the environment, and all of it in one transaction."""

import asyncio
import os

import asyncpg
import pytest

from tests.cli.conftest import Run
from tests.conftest import NewDatabase


async def test_what_is_not_given_comes_from_the_environment(run: Run) -> None:
    by_environment, by_option = await asyncio.gather(
        run("db", "sql", EVENTS_SCHEMA="other", EVENTS_PARTITIONS="7"),
        run("db", "sql", "--schema", "own", "--partitions", "5", EVENTS_SCHEMA="other", EVENTS_PARTITIONS="7"),
    )
    assert '"other".installation' in by_environment.output
    assert "SELECT 7, system_identifier" in by_environment.output
    assert '"events"' not in by_environment.output
    assert '"own".installation' in by_option.output
    assert "SELECT 5, system_identifier" in by_option.output
    assert '"other"' not in by_option.output


async def test_values_that_cannot_be_are_refused_as_the_settings_are(run: Run) -> None:
    wrong = [("--partitions", "0"), ("--partitions", "1025"), ("--schema", "x y")]
    for (option, value), done in zip(wrong, await asyncio.gather(*(run("db", "sql", *w) for w in wrong)), strict=True):
        assert done.status == 1
        assert not done.output
        assert "Traceback" not in done.errors
        assert "SettingsError: A setting is wrong:" in done.errors
        assert f"- {option[2:]} (EVENTS_{option[2:].upper()}): it must be" in done.errors, value


async def test_grants_that_fail_leave_nothing_behind(run: Run, new_database: NewDatabase) -> None:
    url, role = await new_database(schema=False), f"events_reader_{os.getpid()}"
    script = (await run("db", "sql", "--role", role)).output
    assert script.rstrip().endswith("COMMIT;")
    connection = await asyncpg.connect(url)
    try:
        with pytest.raises(asyncpg.UndefinedObjectError):
            await connection.execute(script)
        await connection.execute("ROLLBACK")
        assert await connection.fetchval("SELECT to_regnamespace('events')") is None
        await connection.execute(f"CREATE ROLE {role}")
        await connection.execute(script)
        assert await connection.fetchval("SELECT has_table_privilege($1, 'events.event', 'INSERT')", role)
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()
