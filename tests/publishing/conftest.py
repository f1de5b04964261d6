"""Sessions and connections to publish on, over the database of the run."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from fastapi_events.store.database import sqlalchemy_url
from tests.engines import engine, sync_engine, sync_sessions
from tests.publishing.shop import Base, Log, Port

__all__ = ["engine", "sync_engine", "sync_sessions"]


@pytest_asyncio.fixture(scope="session")
async def tables(database_url: str) -> str:
    """The shop's tables, made once."""
    engine = create_async_engine(sqlalchemy_url(database_url))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    return database_url


@pytest.fixture
def port() -> Port:
    return Port()


@pytest_asyncio.fixture
async def log(tables: str, clean_database: str) -> AsyncIterator[Log]:
    connection = await asyncpg.connect(clean_database)
    yield Log(connection)
    await connection.close()


@pytest.fixture
def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


@pytest_asyncio.fixture
async def connection(tables: str, clean_database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(clean_database)
    yield connection
    await connection.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.001)
