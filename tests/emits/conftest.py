"""A started instance over an address book whose rows tell of themselves."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

from fastapi_events import Events
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Stage
from tests.emits.book import Base, metadata
from tests.engines import engine, sync_engine, sync_sessions

__all__ = ["engine", "sync_engine", "sync_sessions"]

Sessions = async_sessionmaker[AsyncSession]


@pytest_asyncio.fixture(scope="session")
async def tables(database_url: str) -> str:
    engine = create_async_engine(sqlalchemy_url(database_url))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    return database_url


@pytest.fixture
def sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False, class_=SQLModelSession)


@pytest_asyncio.fixture
async def stage(clean_database: str, engine: AsyncEngine) -> AsyncIterator[Stage]:
    """A stage that is cleared before the engine is: its instances keep connections of it."""
    stage = Stage(clean_database)
    yield stage
    await stage.close()


@pytest_asyncio.fixture
async def events(stage: Stage, sessions: Sessions) -> Events:
    return await stage.idle(sessions=sessions)


class Told:
    """What the log holds, without the book's prefix: the last part of each name, with its payload."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def __call__(self) -> list[tuple[str, dict[str, Any]]]:
        rows = await self._stage.rows("SELECT name, payload::text FROM events.event ORDER BY position")
        return [(row["name"].removeprefix("book."), json.loads(row["payload"])) for row in rows]

    async def names(self) -> list[str]:
        return [name for name, _ in await self()]


@pytest.fixture
def told(stage: Stage) -> Told:
    return Told(stage)
