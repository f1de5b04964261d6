"""The databases of the plugin's fixtures."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from fastapi_events import Events, EventsSettings
from fastapi_events.errors import SettingsError
from fastapi_events.testing.databases import CleanDatabase, temporary_database
from fastapi_events.testing.leading import led_to
from tests.conftest import NewDatabase, run_once
from tests.delivery.stage import Placed

ELSEWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/production"


async def _on(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_there_at_first_stays_and_everything_else_goes(new_database: NewDatabase) -> None:
    url = await new_database(schema=False)
    await run_once(url, "CREATE TABLE country (id int PRIMARY KEY); INSERT INTO country VALUES (1)")
    await run_once(url, 'CREATE TABLE "Order" (id int PRIMARY KEY); CREATE TABLE line (o int REFERENCES "Order")')
    database = await asyncio.to_thread(CleanDatabase, url)
    await run_once(url, 'INSERT INTO "Order" VALUES (1); INSERT INTO line VALUES (1)')
    await asyncio.to_thread(database.clean)
    assert await _on(url, 'SELECT (SELECT count(*) FROM "Order") + (SELECT count(*) FROM line)') == 0
    assert await _on(url, "SELECT count(*) FROM country") == 1
    assert await _on(url, "SELECT count(*) FROM events.installation") == 1
    await asyncio.to_thread(database.close)


async def test_who_is_no_superuser_can_empty_tables_too(server_url: str) -> None:
    await run_once(server_url, "DROP ROLE IF EXISTS kit_tester; CREATE ROLE kit_tester LOGIN CREATEDB")
    scheme, rest = server_url.split("://", 1)
    theirs = f"{scheme}://kit_tester@{rest.split('@', 1)[1]}"
    with await asyncio.to_thread(lambda: temporary_database(theirs)) as url:
        await run_once(url, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a)")
        database = await asyncio.to_thread(CleanDatabase, url)
        await run_once(url, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
        await asyncio.to_thread(database.clean)
        assert await _on(url, "SELECT count(*) FROM a") == 0
        await asyncio.to_thread(database.close)
    await run_once(server_url, "DROP ROLE kit_tester")


async def test_a_database_with_events_in_it_is_refused(new_database: NewDatabase) -> None:
    url = await new_database()
    events = Events(settings=EventsSettings(database_url=url))
    await events.start(drains=False)
    await events.publish(Placed(order="a"))
    await events.stop()
    with pytest.raises(SettingsError, match="already has events"):
        await asyncio.to_thread(CleanDatabase, url)
    assert await _on(url, "SELECT count(*) FROM events.event") == 1


async def test_a_transaction_that_was_left_open_is_told(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_events.store.scratch._LOCK_TIMEOUT", "50ms")
    url = await new_database()
    await run_once(url, "CREATE TABLE a (id int PRIMARY KEY)")
    database = await asyncio.to_thread(CleanDatabase, url)
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE a")
    with pytest.raises(SettingsError, match="left a transaction open"):
        await asyncio.to_thread(database.clean)
    await transaction.rollback()
    await connection.close()
    await asyncio.to_thread(database.clean)
    await asyncio.to_thread(database.close)


async def test_who_may_make_no_database_is_told(server_url: str) -> None:
    await run_once(server_url, "DROP ROLE IF EXISTS kit_nobody; CREATE ROLE kit_nobody LOGIN")
    scheme, rest = server_url.split("://", 1)
    theirs = f"{scheme}://kit_nobody@{rest.split('@', 1)[1]}"
    with pytest.raises(SettingsError, match="CREATEDB"), temporary_database(theirs):
        raise AssertionError
    await run_once(server_url, "DROP ROLE kit_nobody")


async def test_makers_and_settings_are_led_there_and_back(clean_database: str) -> None:
    engine, sync_engine = create_async_engine(ELSEWHERE), create_engine("postgresql+psycopg://nobody@127.0.0.1:1/x")
    makers = async_sessionmaker(engine), sessionmaker(sync_engine)
    settings = EventsSettings(max_attempts=7)
    events = Events(sessions=makers[0], sync_sessions=makers[1], settings=settings)
    with led_to(events, clean_database, settings={"batch_size": 3}):
        assert (events.settings.max_attempts, events.settings.batch_size, events.settings.enabled) == (7, 3, False)
        for maker, driver in zip(makers, ("postgresql+asyncpg", "postgresql+psycopg"), strict=True):
            url = maker.kw["bind"].url
            assert (url.drivername, f"/{url.database}") == (driver, urlsplit(clean_database).path)
        await events.start(drains=False)
        await events.publish(Placed(order="a"))
        with pytest.raises(SettingsError, match="has started"):
            events.settings = settings
        await events.stop()
    assert (makers[0].kw["bind"], makers[1].kw["bind"], events.settings) == (engine, sync_engine, settings)


async def test_wrong_settings_of_a_marker_are_refused(clean_database: str) -> None:
    events = Events()
    with (
        pytest.raises(SettingsError, match="max_attempts"),
        led_to(events, clean_database, settings={"max_attemps": 1}),
    ):
        raise AssertionError
    with pytest.raises(SettingsError, match="EventsSettings"):
        events.settings = None  # type: ignore[assignment]


async def test_several_databases_of_one_maker_are_refused(clean_database: str) -> None:
    events = Events(sessions=async_sessionmaker(binds={Placed: create_async_engine(ELSEWHERE)}))
    with pytest.raises(SettingsError, match="prepared_events"), led_to(events, clean_database):
        raise AssertionError
    assert events.settings.database_url is None
