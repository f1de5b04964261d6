"""The event commits with the session's rows, or not at all."""

import asyncio
import gc
import logging
import weakref
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.errors import NotInTransaction, SessionClosed
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.log import EventLog
from tests.publishing.shop import Counted, Item, Log, Noted, Part, Port, Shipped

Sessions = async_sessionmaker[AsyncSession]
SOURCE = Path(__file__).read_text(encoding="utf-8").splitlines()


async def test_row_and_event_commit_together(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        session.add(Item(id=1))
        published = await publish(Noted(number=1))
        assert (await log.numbers(), port.woken) == ([], [])
        await session.commit()
    assert (await log.items(), await log.ids()) == ([1], [published.event_id])
    assert published.duplicate is False
    assert port.woken == [{1}]


async def test_rollback_takes_both_away(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        session.add(Item(id=1))
        await publish(Noted(number=1))
        await session.rollback()
        session.add(Item(id=2))
        await publish(Noted(number=2))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([2], [2])
    assert port.counted == {}


async def test_rows_and_positions_have_the_publishing_order(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=0))
        await publish.many(Noted(number=number) for number in range(1, 30))
        await publish(Noted(number=30), event_id=uuid4())
        await publish(Noted(number=31))
        await session.commit()
    assert await log.numbers() == list(range(32))


async def test_every_commit_carries_its_own(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        for number in (1, 2, 3):
            await publish(Noted(number=number))
            await session.commit()
            assert await log.numbers() == list(range(1, number + 1))
    assert len(port.woken) == 3


async def test_an_event_alone_is_committed(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        await bind_async(port, session)(Noted(number=1))
        await session.commit()
    assert await log.numbers() == [1]


async def test_begin_blocks_commit_and_roll_back(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        async with session.begin():
            await publish(Noted(number=1))
        with pytest.raises(RuntimeError):
            async with session.begin():
                await publish(Noted(number=2))
                raise RuntimeError
    assert await log.numbers() == [1]


async def test_sqlmodel_and_scoped_sessions(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with SQLModelSession(engine) as session:
        await bind_async(port, session)(Noted(number=1))
        await session.commit()
    scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
    await bind_async(port, scoped)(Noted(number=2))
    await scoped.commit()
    await scoped.remove()
    assert await log.numbers() == [1, 2]


async def test_lanes_are_woken(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await publish(Shipped(number=2))
        await session.commit()
    assert port.woken == [{1, 2}]


async def test_a_failed_flush_drops_the_transaction(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        session.add(Item(id=1))
        await session.commit()
        await publish(Noted(number=1))
        session.add(Item(id=1))
        with pytest.raises(IntegrityError):
            await session.commit()
        with pytest.raises(NotInTransaction, match="rolled back by an error"):
            await publish(Noted(number=2))
        with pytest.raises(PendingRollbackError):
            await session.commit()
        await session.rollback()
        await publish(Noted(number=3))
        await session.commit()
    assert await log.numbers() == [3]
    assert port.counted == {}


async def test_a_failed_commit_is_never_followed_by_one_without_events(
    port: Port, sessions: Sessions, log: Log
) -> None:
    """COMMIT itself fails: the database has rolled everything back, and SQLAlchemy demands a rollback."""
    async with sessions() as session:
        publish = bind_async(port, session)
        session.add(Part(id=1, item_id=99))
        await publish(Noted(number=1))
        with pytest.raises(IntegrityError):
            await session.commit()
        with pytest.raises(PendingRollbackError):
            await session.commit()
        assert port.woken == []
        await session.rollback()
        session.add(Item(id=1))
        await publish(Noted(number=2))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([1], [2])
    assert port.counted == {}


async def test_events_outlive_a_commit_that_a_hook_refused(port: Port, sessions: Sessions, log: Log) -> None:
    """The transaction is still open after it; the next commit stores the rows, so it stores the events too."""
    async with sessions() as session:
        publish = bind_async(port, session)
        refusing = True

        def refuse(_: Session) -> None:
            if refusing:
                raise RuntimeError

        event.listen(session.sync_session, "before_commit", refuse)
        session.add(Item(id=1))
        await publish(Noted(number=1))
        with pytest.raises(RuntimeError):
            await session.commit()
        await publish(Noted(number=2))
        refusing = False
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([1], [1, 2])


async def test_events_that_could_not_be_appended_keep_the_next_commit_from_passing(
    port: Port, sessions: Sessions, log: Log
) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await session.execute(text("SELECT 1"))
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT 1/0"))
        for _ in range(2):  # the transaction is aborted: without events COMMIT would roll back and report success
            with pytest.raises(DBAPIError, match="aborted"):
                await session.commit()
        await session.rollback()
    assert await log.numbers() == []


async def test_a_swallowed_error_without_events_is_none_of_ours(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        bind_async(port, session)
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT 1/0"))
        await session.commit()


async def test_a_session_closed_with_events_says_so_once(
    port: Port, sessions: Sessions, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        async with sessions() as session:
            publish = bind_async(port, session)
            session.add(Item(id=1))
            await publish(Noted(number=1))  # this line
            await publish(Shipped(number=2))
            async with session.begin_nested():
                await publish(Shipped(number=3))
    [record] = caplog.records
    line = next(number for number, text in enumerate(SOURCE, 1) if text.endswith("# this line"))
    assert f"shop.item.noted, published at {__file__}:{line}, and 2 more" in record.getMessage()
    assert "Call commit()" in record.getMessage()
    assert port.counted == {"uncommitted_publish": 3}
    assert (await log.items(), await log.numbers()) == ([], [])


async def test_a_savepoint_left_open_at_close_is_reported_with_the_rest(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await session.begin_nested()
        await publish(Noted(number=2), event_id=uuid4())
    assert port.counted == {"uncommitted_publish": 2}
    assert len(caplog.records) == 1


async def test_rolled_back_events_are_not_reported(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await session.begin_nested()
        await publish(Noted(number=2))
        await session.rollback()
    with pytest.raises(RuntimeError):
        async with sessions.begin() as session:
            await bind_async(port, session)(Noted(number=3))
            await session.begin_nested()
            await bind_async(port, session)(Noted(number=4))
            raise RuntimeError
    assert (port.counted, caplog.records) == ({}, [])


def test_a_session_that_nobody_closed_is_reported_when_it_is_garbage(
    port: Port, sync_sessions: Any, caplog: pytest.LogCaptureFixture
) -> None:
    session = sync_sessions()
    bind_sync(port, session)(Noted(number=1))
    del session
    gc.collect()
    assert port.counted == {"uncommitted_publish": 1}
    assert "shop.item.noted, published at" in caplog.text


async def test_a_session_is_freed_without_the_collector(port: Port, sessions: Sessions) -> None:
    """A cycle per publish would keep every session until the collector comes."""
    gc.collect()
    gc.disable()
    try:
        async with sessions() as session:
            publish = bind_async(port, session)
            await publish(Noted(number=1))
            async with session.begin_nested():
                await publish(Noted(number=2), event_id=uuid4())
            await session.commit()
            await publish(Noted(number=3))
            await session.rollback()
        kept = weakref.ref(session.sync_session)
        del session, publish
        assert kept() is None
    finally:
        gc.enable()


async def test_a_closed_session_refuses(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await session.commit()
    with pytest.raises(SessionClosed, match=r"has been closed.*events\.publish"):
        await publish(Noted(number=2))
    with pytest.raises(SessionClosed):
        await bind_async(port, session)(Noted(number=3))
    session.add(Item(id=1))  # SQLAlchemy lets a closed session begin anew
    await publish(Noted(number=4))
    await session.commit()
    await session.close()
    assert await log.numbers() == [1, 4]


async def test_a_session_closed_for_good_refuses(port: Port, engine: AsyncEngine) -> None:
    session = AsyncSession(engine, close_resets_only=False)
    await session.close()
    with pytest.raises(SessionClosed, match="permanently closed"):
        await bind_async(port, session)(Noted(number=1))


async def test_autobegin_off_needs_a_transaction(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with AsyncSession(engine, autobegin=False) as session:
        publish = bind_async(port, session)
        with pytest.raises(NotInTransaction, match=r"autobegin=False.*session\.begin"):
            await publish(Noted(number=1))
        async with session.begin():
            await publish(Noted(number=2))
    assert await log.numbers() == [2]


async def test_autocommit_is_refused_before_anything_is_stored(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with AsyncSession(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        with pytest.raises(NotInTransaction, match="AUTOCOMMIT"):
            await session.commit()
        await session.rollback()
    assert await log.numbers() == []


async def test_an_internal_error_of_the_driver_is_a_lost_connection(
    port: Port, sessions: Sessions, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg raises one where the server ends a connection between two messages."""

    async def broken(*_: Any) -> list[bool]:
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    async with sessions() as session:
        publish = bind_async(port, session)
        await session.execute(text("SELECT 1"))
        await publish(Noted(number=1))
        with monkeypatch.context() as patched:
            patched.setattr(EventLog, "append", broken)
            with pytest.raises(DBAPIError) as caught:
                await session.commit()
        assert caught.value.connection_invalidated
        await session.rollback()
        await publish(Noted(number=2))
        await session.commit()
    assert await log.numbers() == [2]


async def test_a_lost_connection_leaves_the_session_usable(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        await publish(Noted(number=1))
        await log.fetch("SELECT pg_terminate_backend($1, 5000)", pid)
        with pytest.raises(DBAPIError) as caught:
            await session.commit()
        assert caught.value.connection_invalidated
        await session.rollback()
        await publish(Noted(number=2))
        await session.commit()
    assert await log.numbers() == [2]


async def test_behind_a_transaction_pooler(port: Port, clean_database: str, log: Log) -> None:
    """With the caches of asyncpg and SQLAlchemy off nothing of ours is prepared by name: a pooler would lose it."""
    unnamed = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    engine = create_async_engine(sqlalchemy_url(clean_database), connect_args=unnamed)
    async with AsyncSession(engine) as session:
        publish = bind_async(port, session)
        for number in (1, 2):
            session.add(Item(id=number))
            await publish(Noted(number=number))
            await publish.many(Noted(number=number) for _ in range(11))
            await publish(Noted(number=number), event_id=uuid4())
            await publish(Counted(item=1, number=number))
            await session.commit()
        named = await session.execute(text("SELECT statement FROM pg_prepared_statements"))
        assert [name for name in named.scalars() if "events" in name] == []
    await engine.dispose()
    assert len(await log.rows()) == 28


async def test_a_commit_that_is_cancelled_while_it_appends(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as blocking, sessions() as session:
        key = uuid4()
        await bind_async(port, blocking)(Noted(number=1), event_id=key)
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        waiting = asyncio.create_task(bind_async(port, session)(Noted(number=2), event_id=key))
        while not await log.fetch("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await session.rollback()
        await blocking.commit()
        assert await session.scalar(text("SELECT pg_backend_pid()")) != pid  # as after any statement that is cancelled
        await bind_async(port, session)(Noted(number=3))
        await session.commit()
    assert await log.numbers() == [1, 3]


async def test_the_id_is_known_at_once_and_in_time_order(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        ids: list[UUID] = [(await publish(Noted(number=number))).event_id for number in range(3)]
        await session.rollback()
    assert ids == sorted(ids)
