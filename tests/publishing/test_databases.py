"""The publishing engine's database is compared with the drain's, once per pool."""

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session

from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.errors import WrongDatabase
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.log import DatabaseIdentity
from tests.conftest import NewDatabase
from tests.publishing.shop import Item, Log, Noted, Port


async def identity(log: Log) -> DatabaseIdentity:
    [row] = await log.fetch("SELECT system_identifier, current_database() FROM pg_control_system()")
    return DatabaseIdentity(*row)


async def test_the_same_database(port: Port, sessions: async_sessionmaker[AsyncSession], log: Log) -> None:
    port.database = await identity(log)
    async with sessions() as session:
        publish = bind_async(port, session)
        for number in (1, 2):
            await publish(Noted(number=number))
            await session.commit()
    assert await log.numbers() == [1, 2]


async def test_another_database(port: Port, log: Log, new_database: NewDatabase) -> None:
    port.database = await identity(log)
    other = create_async_engine(sqlalchemy_url(await new_database()))
    async with AsyncSession(other) as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        for _ in range(2):
            with pytest.raises(WrongDatabase) as caught:
                await session.commit()
        await session.rollback()
    await other.dispose()
    message = str(caught.value)
    assert repr(port.database.database) in message
    assert "events_own_" in message
    assert "set database_url (EVENTS_DATABASE_URL)" in message


async def test_another_cluster_of_the_same_name(
    port: Port, sessions: async_sessionmaker[AsyncSession], log: Log
) -> None:
    own = await identity(log)
    port.database = DatabaseIdentity(own.system_identifier + 1, own.database)
    async with sessions() as session:
        session.add(Item(id=1))
        await bind_async(port, session)(Noted(number=1))
        with pytest.raises(WrongDatabase, match=str(own.system_identifier)):
            await session.commit()
        await session.rollback()
    assert (await log.items(), await log.numbers()) == ([], [])


async def test_a_refused_immediate_publish_is_forgotten(
    port: Port, sessions: async_sessionmaker[AsyncSession], log: Log
) -> None:
    from uuid import uuid4

    own = await identity(log)
    port.database = DatabaseIdentity(own.system_identifier + 1, own.database)
    async with sessions() as session:
        session.add(Item(id=1))
        with pytest.raises(WrongDatabase):
            await bind_async(port, session)(Noted(number=1), event_id=uuid4())
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([1], [])


async def test_engines_with_options_share_the_answer(port: Port, engine: AsyncEngine, log: Log) -> None:
    """One engine per request with its own options is a known way to choose a tenant's schema."""
    port.database = await identity(log)
    statements: list[str] = []
    from sqlalchemy import event

    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for number in range(3):
        async with AsyncSession(engine.execution_options(schema_translate_map={"a": "b"})) as session:
            await bind_async(port, session)(Noted(number=number))
            await session.commit()
    assert sum("pg_control_system" in statement for statement in statements) == 1


def test_plain_sessions(port: Port, sync_engine: Engine) -> None:
    port.database = DatabaseIdentity(1, "elsewhere")
    with Session(sync_engine) as session:
        bind_sync(port, session)(Noted(number=1))
        with pytest.raises(WrongDatabase, match="elsewhere"):
            session.commit()
        session.rollback()


@pytest.mark.parametrize("with_default", [True, False])
async def test_a_session_that_chooses_its_engine_writes_to_the_writer(
    port: Port, engine: AsyncEngine, log: Log, with_default: bool
) -> None:
    """The recipe of SQLAlchemy's documentation: reads go to a follower."""
    from typing import Any

    from sqlalchemy import Delete, Update, create_engine

    follower = create_engine("postgresql+asyncpg://nobody@127.0.0.1:1/nowhere")

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Any:
            writing = self._flushing or isinstance(clause, (Update, Delete))  # as documented
            return engine.sync_engine if writing else follower

    async with AsyncSession(engine if with_default else None, sync_session_class=Routing) as session:
        session.add(Item(id=1))
        await bind_async(port, session)(Noted(number=1))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([1], [1])


async def test_a_session_without_a_default_engine(port: Port, engine: AsyncEngine, log: Log) -> None:
    async with AsyncSession(binds={Item: engine}) as session:
        session.add(Item(id=1))
        await bind_async(port, session)(Noted(number=1))
        with pytest.raises(UnboundExecutionError) as caught:
            await session.commit()
        await session.rollback()
    assert "make it with bind=" in caught.value.__notes__[0]
    assert await log.items() == []
