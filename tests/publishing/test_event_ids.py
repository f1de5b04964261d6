"""A given id makes a second publish a no-op that says so; a class with ``serialize=True`` makes writers wait."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.publisher import Published
from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.model.identity import deterministic_id
from tests.publishing.shop import Counted, Item, Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]
KEY = deterministic_id("stripe", "evt_1")


async def blocked(log: Log) -> None:
    """Wait until some transaction waits for another."""
    async with asyncio.timeout(5):
        while not await log.fetch("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.001)


async def test_the_second_is_a_duplicate(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        first = await publish(Noted(number=1), event_id=KEY)
        again = await publish(Noted(number=1), event_id=KEY)
        await session.commit()
        later = await publish(Noted(number=1), event_id=KEY)
        await session.commit()
    assert [first, again, later] == [Published(KEY, duplicate) for duplicate in (False, True, True)]
    assert await log.ids() == [KEY]


async def test_rolled_back_it_was_no_first(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        assert not (await publish(Noted(number=1), event_id=KEY)).duplicate
        await session.rollback()
        assert not (await publish(Noted(number=2), event_id=KEY)).duplicate
        await session.commit()
    assert await log.numbers() == [2]


@pytest.mark.parametrize("first_commits", [True, False])
async def test_two_at_once_wait_for_the_first_ones_end(
    port: Port, sessions: Sessions, log: Log, first_commits: bool
) -> None:
    async with sessions() as first, sessions() as second:
        await bind_async(port, first)(Noted(number=1), event_id=KEY)
        racing = asyncio.create_task(bind_async(port, second)(Noted(number=2), event_id=KEY))
        await blocked(log)
        await (first.commit() if first_commits else first.rollback())
        assert (await racing).duplicate is first_commits
        await second.commit()
    assert await log.numbers() == ([1] if first_commits else [2])


async def test_many_racing_for_one_id(port: Port, sessions: Sessions, log: Log) -> None:
    async def deliver(number: int) -> bool:
        async with sessions() as session:
            session.add(Item(id=number))
            published = await bind_async(port, session)(Noted(number=number), event_id=KEY)
            await session.commit()
            return published.duplicate

    duplicates = await asyncio.gather(*(deliver(number) for number in range(8)))
    assert sorted(duplicates) == [False] + [True] * 7
    assert len(await log.ids()) == 1


async def test_a_duplicate_wakes_nobody_for_itself(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1), event_id=KEY)
        await session.commit()
        port.woken.clear()
        await publish(Noted(number=1), event_id=KEY)
        await session.commit()
    assert port.woken == []


async def test_the_row_is_there_at_once_and_the_domain_row_not_yet(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        session.add(Item(id=1))
        await bind_async(port, session)(Noted(number=1), event_id=KEY)
        with session.no_autoflush:
            inside = await session.connection()
            rows = await inside.exec_driver_sql("SELECT id FROM events.event")
            assert [UUID(str(value)) for value in rows.scalars()] == [KEY]
        assert len(session.new) == 1
        await session.rollback()


async def test_serialized_writers_of_one_key_wait_for_each_other(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as first, sessions() as second, sessions() as other:
        await bind_async(port, first)(Counted(item=1, number=1))
        await bind_async(port, other)(Counted(item=2, number=2))
        racing = asyncio.create_task(bind_async(port, second)(Counted(item=1, number=3)))
        await blocked(log)
        assert not racing.done()
        await other.commit()
        await first.commit()
        await racing
        await second.commit()
    positions = {int(number): place for place, number in enumerate(await log.numbers())}
    assert positions[1] < positions[3]


async def test_writers_of_one_row_have_positions_in_commit_order(port: Port, sessions: Sessions, log: Log) -> None:
    """Positions are drawn after every flush: whoever waits for the row lock has none yet."""
    async with sessions() as first, sessions() as second:
        first.add(Item(id=1))
        await first.commit()
        for session, number in ((first, 1), (second, 2)):
            item = await session.get_one(Item, 1)
            item.name = str(number)
            await bind_async(port, session)(Noted(number=number))
        await first.flush()
        waiting = asyncio.create_task(second.commit())
        await blocked(log)
        await first.commit()
        await waiting
    assert await log.numbers() == [1, 2]


async def test_commit_order_is_position_order_for_serialized_keys(port: Port, sessions: Sessions, log: Log) -> None:
    """Many writers that share no row lock; each notes the order in which it came to hold the key."""
    order: list[int] = []

    async def write(number: int) -> None:
        async with sessions() as session:
            await bind_async(port, session)(Counted(item=1, number=number))
            order.append(number)
            await session.commit()

    await asyncio.gather(*(write(number) for number in range(10)))
    assert await log.numbers() == order


async def test_many_with_serialized_and_plain_events(port: Port, sessions: Sessions, log: Log) -> None:
    events: list[Any] = [Noted(number=1), Counted(item=1, number=2), Noted(number=3), Counted(item=2, number=4)]
    async with sessions() as session:
        answers = await bind_async(port, session).many(events)
        await session.commit()
    assert [answer.duplicate for answer in answers] == [False] * 4
    assert await log.numbers() == [1, 2, 3, 4]


def test_plain_sessions(port: Port, sync_sessions: sessionmaker[Session]) -> None:
    key = uuid4()
    with sync_sessions() as session:
        publish = bind_sync(port, session)
        assert publish(Noted(number=1), event_id=key) == Published(key, duplicate=False)
        assert publish(Noted(number=1), event_id=key) == Published(key, duplicate=True)
        publish(Counted(item=1))
        session.commit()
        assert publish(Noted(number=1), event_id=key).duplicate
        session.rollback()
