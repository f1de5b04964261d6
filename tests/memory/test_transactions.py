"""Events on memory in the transactions of sessions and connections of any database."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import (
    EventPublisher,
    Events,
    EventsSettings,
    HandlerSession,
    Module,
    SyncEventPublisher,
    SyncHandlerSession,
)  # fmt: skip
from fastapi_events.api.session_binding import bind_sync
from fastapi_events.errors import NotOnMemory, OperationRefused
from fastapi_events.testing import in_memory
from tests.delivery.stage import Placed, Shipped, collecting


async def test_a_plain_session_of_sqlite_carries_events(engine: Engine, seen: list[int]) -> None:
    events = Events([collecting(seen)])
    async with in_memory(events) as memory:
        with Session(engine) as session:
            publish = bind_sync(events.publishing, session)
            publish(Placed(order="a", number=1))
            session.rollback()
            publish(Placed(order="a", number=2))
            publish(Placed(order="a", number=3), event_id=uuid4())
            assert memory.events == []
            session.commit()
        assert [stored.event.number for stored in memory.events] == [2, 3]
        with Session(engine) as session, session.begin():
            await events.publish(Placed(order="a", number=4), session=session)
        await events.drain_once()
    assert seen == [2, 3, 4]


async def test_core_connections_carry_events(engine: Engine, seen: list[int]) -> None:
    events = Events([collecting(seen)])
    async with in_memory(events):
        with engine.begin() as connection:
            await events.publish(Placed(order="a", number=1), session=connection)
        with engine.connect() as connection:
            await events.publish(Placed(order="a", number=2), session=connection)  # closed without a commit
        await events.drain_once()
    assert seen == [1]


async def test_a_commit_that_fails_carries_nothing(engine: Engine, seen: list[int]) -> None:
    events = Events([collecting(seen)])
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    async with in_memory(events) as memory:
        for end in ("rollback", "close"):
            session = Session(engine)
            session.connection().exec_driver_sql("PRAGMA foreign_keys = ON")
            session.commit()
            await events.publish(Placed(order="a", number=1), session=session)
            session.execute(text("INSERT INTO child VALUES (1)"))
            with pytest.raises(IntegrityError):
                session.commit()
            getattr(session, end)()
            assert memory.events == []
            session.close()
        await events.drain_once()
    assert seen == []


async def test_nothing_is_there_while_its_commit_is_being_made(engine: Engine) -> None:
    events, counts = Events([collecting([])]), list[int]()
    async with in_memory(events) as memory:
        with engine.connect() as connection:
            await events.publish(Placed(order="a", number=1), session=connection)
            event.listen(connection, "commit", lambda _: counts.append(len(memory.events)))
            connection.commit()
        counts.append(len(memory.events))
    assert counts == [0, 1]


async def test_a_session_joined_to_an_open_transaction_waits_for_its_commit(engine: Engine, seen: list[int]) -> None:
    events = Events([collecting(seen)])
    async with in_memory(events) as memory:
        with engine.connect() as connection:
            transaction = connection.begin()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                await events.publish(Placed(order="a", number=1), session=session)
                session.commit()
            assert memory.events == []
            transaction.rollback()
            assert memory.events == []
            with connection.begin(), Session(connection, join_transaction_mode="create_savepoint") as session:
                await events.publish(Placed(order="a", number=2), session=session)
                session.commit()
        await events.drain_once()
    assert seen == [2]


async def test_a_second_publish_of_an_open_transactions_id_is_refused(engine: Engine) -> None:
    events, given = Events([collecting([])]), uuid4()
    async with in_memory(events):
        async with events.session() as session:
            await events.publisher(session)(Placed(order="a"), event_id=given)
            with pytest.raises(NotOnMemory, match="another open transaction has published this id"):
                await events.publish(Placed(order="a"), event_id=given)
            await session.commit()
        assert (await events.publish(Placed(order="a"), event_id=given)).duplicate


async def test_handlers_take_sessions_of_the_makers_that_are_given(tmp_path: Any) -> None:
    module, url = Module("shop"), f"sqlite:///{tmp_path}/rows.sqlite"
    sync_engine = create_engine(url)
    with sync_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE effect (number integer)")

    @module.on(Placed)
    def write(event: Placed, session: SyncHandlerSession, publish: SyncEventPublisher) -> None:
        session.connection().execute(text("INSERT INTO effect VALUES (:number)"), {"number": event.number})
        publish(Shipped(order="a", number=event.number))
        if event.number == 2:
            raise RuntimeError("undone")

    seen = list[int]()

    @module.on(Shipped)
    async def ship(event: Shipped) -> None:
        seen.append(event.number)

    unused = sessionmaker(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere"))
    events = Events([module], sync_sessions=unused, settings=EventsSettings(max_attempts=1))
    async with in_memory(events, sync_sessions=sessionmaker(sync_engine)):
        for number in (1, 2):
            await events.publish(Placed(order="a", number=number))
        await events.drain_once()
    with sync_engine.connect() as connection:
        assert [row[0] for row in connection.exec_driver_sql("SELECT number FROM effect")] == [1]
    sync_engine.dispose()
    assert seen == [1]


async def test_the_ready_made_sessions_are_like_any_other(seen: list[int]) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def write(event: Placed, session: HandlerSession) -> None:
        connection = await session.connection()
        await connection.execute(text("INSERT INTO effect VALUES (:number)"), {"number": event.number})

    events = Events([module])
    async with in_memory(events):
        async with events.session() as session:
            connection = await session.connection()
            await connection.execute(text("CREATE TABLE effect (number integer)"))
            await session.commit()
        async with events.session() as writing, events.session() as reading:
            await (await writing.connection()).execute(text("INSERT INTO effect VALUES (0)"))
            found = await (await reading.connection()).execute(text("SELECT count(*) FROM effect"))
            assert found.scalar() == 0
            await writing.rollback()
        await events.publish(Placed(order="a", number=1))
        await events.drain_once()
        async with events.session() as session:
            found = await (await session.connection()).execute(text("SELECT number FROM effect"))
            assert found.scalars().all() == [1]


async def test_handlers_with_sessions_of_postgresql(clean_database: str) -> None:
    """Events on memory, rows in PostgreSQL: a transaction is a transaction, a swallowed error included."""
    engine = create_async_engine(clean_database.replace("postgresql:", "postgresql+asyncpg:"))
    module, seen = Module("shop"), list[int]()

    @module.on(Placed)
    async def write(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        connection = await session.connection()
        await connection.execute(text("INSERT INTO in_memory_effect VALUES (:number)"), {"number": event.number})
        await publish(Shipped(order="a", number=event.number))
        if event.number == 2:
            raise RuntimeError("undone")

    @module.on(Shipped)
    async def ship(event: Shipped) -> None:
        seen.append(event.number)

    events = Events([module], sessions=async_sessionmaker(engine), settings=EventsSettings(max_attempts=1))
    async with in_memory(events) as memory:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE in_memory_effect (number integer)"))
        async with events.session() as session:
            await events.publisher(session).many([Placed(order="a", number=1), Placed(order="b", number=2)])
            await session.commit()
        async with events.session() as session:
            await events.publisher(session)(Placed(order="c", number=3))
            with pytest.raises(ProgrammingError):
                await session.execute(text("SELECT nothing"))
            with pytest.raises(DBAPIError):
                await session.commit()
        await events.drain_once()
        assert [stored.name for stored in memory.events] == ["shop.order.placed"] * 2 + ["shop.order.shipped"]
        async with engine.begin() as connection:
            found = (await connection.execute(text("SELECT number FROM in_memory_effect"))).scalars().all()
            await connection.execute(text("DROP TABLE in_memory_effect"))
    await engine.dispose()
    assert (seen, found) == ([1], [1])


async def test_a_plain_session_is_drained_inside_its_transaction(engine: Engine) -> None:
    module, seen = Module("shop"), list[str]()

    @module.on(Placed, id="place")
    async def place(event: Placed, publish: EventPublisher) -> None:
        seen.append("placed")
        await publish(Shipped(order="a"))

    @module.on(Shipped, id="ship")
    async def ship(event: Shipped, session: HandlerSession) -> None:
        seen.append("never")

    events = Events([module])
    async with in_memory(events) as memory:
        with Session(engine) as session:
            await events.publish(Placed(order="a"), session=session)
            with pytest.raises(OperationRefused, match=r"handler 'ship': it takes a HandlerSession"):
                await events.drain_once(session=session)
            session.rollback()
        assert (seen, memory.events) == (["placed"], [])
