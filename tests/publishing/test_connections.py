"""SQLAlchemy's connections: events are appended at once, in the transaction that is open there."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from fastapi_events.api.publisher import Published
from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.errors import NotInTransaction, SessionClosed
from tests.publishing.conftest import until
from tests.publishing.shop import Counted, Log, Noted, Port

INSERT_ITEM = "INSERT INTO publishing_item VALUES (1, '')"


async def test_commits_with_the_connection(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with engine.begin() as connection:
        publish = bind_async(port, connection)
        await connection.exec_driver_sql(INSERT_ITEM)
        await publish(Noted(number=1))
        await publish(Counted(item=1, number=2))
        assert (await log.numbers(), port.woken) == ([], [])
    await until(lambda: port.woken == [{1}])
    assert (await log.items(), await log.numbers()) == ([1], [1, 2])


async def test_commit_as_you_go(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with engine.connect() as connection:
        publish = bind_async(port, connection)
        await publish(Noted(number=1))
        await connection.commit()
        await until(lambda: len(port.woken) == 1)
        await publish(Noted(number=2))
        await connection.rollback()
        await publish(Noted(number=3))
        await connection.commit()
        await connection.exec_driver_sql("SELECT 1")
        await until(lambda: len(port.woken) == 2)
    assert await log.numbers() == [1, 3]


async def test_savepoints(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with engine.begin() as connection:
        publish = bind_async(port, connection)
        async with connection.begin_nested():
            await publish(Noted(number=1))
        savepoint = await connection.begin_nested()
        await publish(Noted(number=2))
        await savepoint.rollback()
        await publish(Noted(number=3))
    assert await log.numbers() == [1, 3]


async def test_duplicates(port: Port, engine: AsyncEngine, log: Log) -> None:
    key = uuid4()
    for expected in (False, True):
        async with engine.begin() as connection:
            assert await bind_async(port, connection)(Noted(number=1), event_id=key) == Published(key, expected)


async def test_closed_and_autocommit(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with engine.connect() as connection:
        publish = bind_async(port, connection)
    with pytest.raises(SessionClosed, match="has been closed"):
        await publish(Noted(number=1))
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        with pytest.raises(NotInTransaction, match="AUTOCOMMIT"):
            await bind_async(port, connection)(Noted(number=2))
    assert await log.numbers() == []


async def test_plain_connections_in_a_thread(port: Port, sync_engine: Engine, log: Log) -> None:
    def work() -> None:
        with sync_engine.begin() as connection:
            publish = bind_sync(port, connection)
            connection.exec_driver_sql(INSERT_ITEM)
            publish(Noted(number=1))
            publish.many([Noted(number=2), Noted(number=3)])
        with pytest.raises(SessionClosed):
            publish(Noted(number=4))
        with (
            sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
            pytest.raises(NotInTransaction, match="AUTOCOMMIT"),
        ):
            bind_sync(port, connection)(Noted(number=5))

    await asyncio.to_thread(work)
    await until(lambda: port.woken == [{1}])
    assert (await log.items(), await log.numbers()) == ([1], [1, 2, 3])
