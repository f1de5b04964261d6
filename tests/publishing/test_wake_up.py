"""Telling other processes: never inside the user's transaction, unless that was asked for."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.store.database import sqlalchemy_url
from tests.conftest import NewDatabase
from tests.publishing.conftest import until
from tests.publishing.shop import Base, Item, Log, Noted, Port, Shipped


@pytest.fixture
async def heard(log: Log) -> list[str]:
    """What another connection is notified of."""
    payloads: list[str] = []
    await log._connection.add_listener("shop_events", lambda *given: payloads.append(str(given[3])))
    return payloads


async def test_transactional_notifications_come_with_the_commit(
    port: Port, engine: AsyncEngine, log: Log, heard: list[str]
) -> None:
    port.notify = "transactional"
    async with AsyncSession(engine) as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        await session.rollback()
        session.add(Item(id=1))  # with it the rows are written by the driver, without it by SQLAlchemy
        await publish(Noted(number=2))
        await publish(Shipped(number=3))
        await session.commit()
    places = await log.fetch("SELECT lane || '.' || partition AS place FROM events.event ORDER BY lane")
    await until(lambda: heard == [",".join(row["place"] for row in places)])
    assert port.woken == [{1, 2}]


async def test_transactional_notifications_of_every_kind_of_connection(
    port: Port, engine: AsyncEngine, sync_engine: Engine, connection: Any, log: Log, heard: list[str]
) -> None:
    port.notify = "transactional"
    async with AsyncSession(engine) as session:
        await bind_async(port, session)(Noted(number=0))
        await session.commit()
    async with engine.begin() as own:
        await bind_async(port, own)(Noted(number=1))
    async with connection.transaction():
        await bind_async(port, connection)(Noted(number=2))
    with Session(sync_engine) as session:
        bind_sync(port, session)(Noted(number=3))
        session.commit()
    await until(lambda: len(heard) == 4)


@pytest.mark.parametrize("notify", ["after_commit", "off"])
async def test_otherwise_no_notification_is_sent_inside(
    port: Port, engine: AsyncEngine, log: Log, heard: list[str], notify: Any
) -> None:
    port.notify = notify
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    async with AsyncSession(engine) as session:
        await bind_async(port, session)(Noted(number=1))
        await session.commit()
    await log.fetch("SELECT 1")
    assert not any("pg_notify" in statement for statement in statements)
    assert (heard, port.woken) == ([], [{1}])


async def test_woken_from_a_thread(port: Port, sync_engine: Engine, log: Log) -> None:
    def work() -> None:
        with Session(sync_engine) as session:
            bind_sync(port, session)(Noted(number=1))
            session.commit()
            assert port.woken == [{1}]

    await asyncio.to_thread(work)


async def test_a_connection_is_not_said_to_have_committed_while_it_does(port: Port, new_database: NewDatabase) -> None:
    """SQLAlchemy tells of a connection's commit before it is one; here the COMMIT itself waits for a lock."""
    url = await new_database()
    engine, other = create_async_engine(sqlalchemy_url(url)), await asyncpg.connect(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await other.execute(SLOW_COMMIT)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("INSERT INTO publishing_item VALUES (1, '')")
        await bind_async(port, connection)(Noted(number=1))
        committing = asyncio.create_task(connection.commit())
        for _ in range(5):  # and the watch has looked a few times
            while not await other.fetch("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                await asyncio.sleep(0.001)
        assert port.woken == []
        await other.execute("SELECT pg_advisory_unlock_all()")
        await committing
        await until(lambda: port.woken == [{1}])
    await other.close()
    await engine.dispose()


SLOW_COMMIT = """
    SELECT pg_advisory_lock(1);
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON publishing_item DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait();
"""
