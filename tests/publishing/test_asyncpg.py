"""A bare asyncpg connection, or one that a pool has lent: inside a transaction only."""

import gc
import json
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from fastapi_events.api.publisher import Published
from fastapi_events.api.session_binding import bind_async
from fastapi_events.errors import NotInTransaction, SessionClosed, WrongDatabase
from fastapi_events.store.log import DatabaseIdentity
from tests.publishing.conftest import until
from tests.publishing.shop import Counted, Log, Noted, Port

INSERT_ITEM = "INSERT INTO publishing_item VALUES (1, '')"


async def test_commits_with_the_transaction(port: Port, connection: Any, log: Log) -> None:
    async with connection.transaction():
        publish = bind_async(port, connection)
        await connection.execute(INSERT_ITEM)
        await publish(Noted(number=1))
        await publish(Counted(item=1, number=2))
        assert (await log.numbers(), port.woken) == ([], [])
    await until(lambda: port.woken == [{1}])
    assert (await log.items(), await log.numbers()) == ([1], [1, 2])


async def test_rollback_and_savepoints(port: Port, connection: Any, log: Log) -> None:
    with pytest.raises(RuntimeError):
        async with connection.transaction():
            await bind_async(port, connection)(Noted(number=1))
            raise RuntimeError
    async with connection.transaction():
        publish = bind_async(port, connection)
        with pytest.raises(RuntimeError):
            async with connection.transaction():
                await publish(Noted(number=2))
                raise RuntimeError
        await publish(Noted(number=3))
    await until(lambda: len(port.woken) == 1)
    assert await log.numbers() == [3]


async def test_outside_a_transaction(port: Port, connection: Any, log: Log) -> None:
    publish = bind_async(port, connection)
    with pytest.raises(NotInTransaction, match=r"async with connection\.transaction\(\)"):
        await publish(Noted(number=1))
    await connection.close()
    with pytest.raises(SessionClosed, match="connection is closed"):
        await publish(Noted(number=2))
    assert await log.numbers() == []


async def test_plain_commands_end_it_too(port: Port, connection: Any, log: Log) -> None:
    publish = bind_async(port, connection)
    await connection.execute("BEGIN")
    await publish(Noted(number=1))
    await connection.execute("SAVEPOINT here")
    await connection.execute("ROLLBACK TO SAVEPOINT here")
    await connection.execute("commit")
    await until(lambda: port.woken == [{1}])
    await connection.execute("BEGIN")
    await publish(Noted(number=2))
    await connection.execute("ROLLBACK")
    await connection.execute("BEGIN")
    await connection.execute("COMMIT")
    await connection.execute("SELECT 1")
    assert port.woken == [{1}]
    assert await log.numbers() == [1]


async def test_lent_by_a_pool(port: Port, clean_database: str, log: Log) -> None:
    port.database = await port.log.identify(log._connection)
    async with asyncpg.create_pool(clean_database, min_size=1, max_size=1) as pool:
        for number in (1, 2):
            async with pool.acquire() as connection:
                publish = bind_async(port, connection)
                async with connection.transaction():
                    await publish(Noted(number=number))
            await until(lambda: [*port.woken] == [{1}] * number)  # noqa: B023 - called before the next turn
        with pytest.raises(SessionClosed, match="went back to its pool"):
            await publish(Noted(number=3))
    assert await log.numbers() == [1, 2]


async def test_nothing_is_left_on_the_connection(port: Port, connection: Any) -> None:
    gc.collect()
    before = len(gc.get_referrers(port))
    for number in range(20):
        async with connection.transaction():
            await bind_async(port, connection)(Noted(number=number))
    await until(lambda: len(port.woken) == 20)
    gc.collect()
    assert len(gc.get_referrers(port)) == before


async def test_duplicates_and_codecs_of_the_users_own(port: Port, connection: Any, log: Log) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    key = uuid4()
    for expected in (False, True):
        async with connection.transaction():
            publish = bind_async(port, connection)
            await publish.many([Noted(number=1), Noted(number=2)])
            assert await publish(Noted(number=3), event_id=key, headers={"a": "b"}) == Published(key, expected)
    assert await log.numbers() == [1, 2, 3, 1, 2]


async def test_the_database_is_compared(port: Port, connection: Any, clean_database: str, log: Log) -> None:
    port.database = DatabaseIdentity(42, "elsewhere")
    async with connection.transaction():
        with pytest.raises(WrongDatabase, match="'elsewhere'"):
            await bind_async(port, connection)(Noted(number=1))
    assert await log.numbers() == []
