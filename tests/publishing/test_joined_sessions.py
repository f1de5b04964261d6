"""A session on a connection that has a transaction already: its commit may be no commit, the wake-up waits for one."""

from typing import Literal

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.session_binding import bind_async, bind_sync
from tests.publishing.conftest import until
from tests.publishing.shop import Item, Log, Noted, Port

Mode = Literal["conditional_savepoint", "create_savepoint", "rollback_only", "control_fully"]
JOINED: list[Mode] = ["conditional_savepoint", "create_savepoint", "rollback_only"]


@pytest.mark.parametrize("mode", JOINED)
async def test_woken_by_the_outer_commit(port: Port, engine: AsyncEngine, log: Log, mode: Mode) -> None:
    async with engine.connect() as connection:
        transaction = await connection.begin()
        for number in (1, 2):
            async with AsyncSession(connection, join_transaction_mode=mode) as session:
                session.add(Item(id=number))
                await bind_async(port, session)(Noted(number=number))
                await session.commit()
        assert (await log.numbers(), port.woken) == ([], [])
        await transaction.commit()
        await until(lambda: port.woken == [{1}])
    assert (await log.items(), await log.numbers()) == ([1, 2], [1, 2])


@pytest.mark.parametrize("mode", JOINED)
async def test_nothing_of_a_rolled_back_outer_transaction(
    port: Port, engine: AsyncEngine, log: Log, mode: Mode
) -> None:
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode=mode) as session:
            session.add(Item(id=1))
            await bind_async(port, session)(Noted(number=1))
            await session.commit()
        inside = await connection.exec_driver_sql("SELECT payload->>'number' FROM events.event")
        assert inside.scalars().all() == ["1"]  # a test that rolls everything back can still look at the log
        await transaction.rollback()
        async with connection.begin():
            await connection.exec_driver_sql("INSERT INTO publishing_item VALUES (2, '')")
    assert (await log.items(), await log.numbers()) == ([2], [])
    assert (port.woken, port.counted) == ([], {})


async def test_conditional_savepoint_inside_a_savepoint(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with engine.connect() as connection, connection.begin():
        savepoint = await connection.begin_nested()
        async with AsyncSession(connection, join_transaction_mode="conditional_savepoint") as session:
            await bind_async(port, session)(Noted(number=1))
            await session.commit()
        await savepoint.rollback()
        async with AsyncSession(connection, join_transaction_mode="conditional_savepoint") as session:
            await bind_async(port, session)(Noted(number=2))
            await session.commit()
    assert await log.numbers() == [2]


async def test_control_fully_commits_really(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with engine.connect() as connection:
        await connection.begin()
        async with AsyncSession(connection, join_transaction_mode="control_fully") as session:
            await bind_async(port, session)(Noted(number=1))
            await session.commit()
            assert port.woken == [{1}]
            assert await log.numbers() == [1]


@pytest.mark.parametrize("mode", JOINED)
async def test_rolling_the_session_back(port: Port, engine: AsyncEngine, log: Log, mode: Mode) -> None:
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode=mode) as session:
            publish = bind_async(port, session)
            await publish(Noted(number=1))
            await session.rollback()
            if mode == "create_savepoint":
                await publish(Noted(number=2))
                await session.commit()
        if transaction.is_active:
            await transaction.commit()
    assert await log.numbers() == ([2] if mode == "create_savepoint" else [])
    assert port.counted == {}


async def test_plain_sessions_without_an_event_loop_of_their_own(port: Port, sync_engine: Engine, log: Log) -> None:
    import asyncio

    def work() -> None:
        with sync_engine.connect() as connection, connection.begin():
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                bind_sync(port, session)(Noted(number=1))
                session.commit()
            assert port.woken == []

    await asyncio.to_thread(work)
    await until(lambda: port.woken == [{1}])
    assert await log.numbers() == [1]
