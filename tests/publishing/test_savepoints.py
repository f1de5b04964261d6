"""A rolled-back savepoint takes its events with it; a released one hands them up."""

from uuid import uuid4

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.session_binding import bind_async, bind_sync
from tests.publishing.shop import Counted, Item, Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]


async def test_released_and_rolled_back(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        async with session.begin_nested():
            session.add(Item(id=2))
            await publish(Noted(number=2))
        with pytest.raises(RuntimeError):
            async with session.begin_nested():
                session.add(Item(id=3))
                await publish(Noted(number=3))
                raise RuntimeError
        await publish(Noted(number=4))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([2], [1, 2, 4])


async def test_a_released_savepoint_in_a_rolled_back_one(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        outer = await session.begin_nested()
        await publish(Noted(number=1))
        async with session.begin_nested():
            await publish(Noted(number=2))
        await outer.rollback()
        await publish(Noted(number=3))
        await session.commit()
    assert await log.numbers() == [3]


async def test_rolling_back_an_outer_savepoint_with_an_inner_one_open(
    port: Port, sessions: Sessions, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=0))
        outer = await session.begin_nested()
        await publish(Noted(number=1))
        await session.begin_nested()
        await publish(Noted(number=2))
        await outer.rollback()
        await session.commit()
    assert await log.numbers() == [0]
    assert (port.counted, caplog.records) == ({}, [])


async def test_events_written_inside_a_savepoint_survive_its_rollback_if_they_are_older(
    port: Port, sessions: Sessions, log: Log
) -> None:
    """An event with an id is inserted at once, and the waiting ones before it, for the order's sake."""
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        savepoint = await session.begin_nested()
        await publish(Noted(number=2))
        key = uuid4()
        assert not (await publish(Noted(number=3), event_id=key)).duplicate
        await savepoint.rollback()
        assert not (await publish(Noted(number=4), event_id=key)).duplicate
        await session.commit()
    assert await log.numbers() == [1, 4]


async def test_a_flush_that_fails_in_a_savepoint(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        session.add(Item(id=1))
        await publish(Noted(number=1))
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await publish(Noted(number=2))
                session.add(Item(id=1))
                await session.flush()
        await publish(Noted(number=3))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([1], [1, 3])


async def test_an_insert_that_fails_in_a_savepoint(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                session.add(Item(id=1))
                await session.flush()
                await publish(Counted(item=1, number=2))
                session.add(Item(id=1))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([], [1])


async def test_committing_with_a_savepoint_open(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await session.begin_nested()
        await publish(Noted(number=2))
        await session.commit()
    async with sessions() as session:
        publish = bind_async(port, session)
        async with session.begin():  # commits the root directly: SQLAlchemy tells of it before the savepoints' turn
            session.add(Item(id=1))
            await session.begin_nested()
            session.add(Item(id=2))
            await publish(Noted(number=3))
            await session.begin_nested()
            session.add(Item(id=3))
            await publish(Noted(number=4))
    assert (await log.items(), await log.numbers()) == ([1, 2, 3], [1, 2, 3, 4])
    assert len(port.woken) == 2


def test_plain_sessions(port: Port, sync_sessions: sessionmaker[Session]) -> None:
    with sync_sessions() as session:
        publish = bind_sync(port, session)
        publish(Noted(number=1))
        with session.begin_nested():
            publish(Noted(number=2))
        savepoint = session.begin_nested()
        publish(Noted(number=3))
        savepoint.rollback()
        assert port.woken == []
        session.commit()
        numbers = session.connection().exec_driver_sql("SELECT payload->>'number' FROM events.event ORDER BY position")
        assert numbers.scalars().all() == ["1", "2"]
