"""SQLAlchemy on the database of the run; ``tables`` is the fixture of a room that makes the tables of its users."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.store.database import sqlalchemy_url


@pytest_asyncio.fixture
async def engine(tables: str, clean_database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(sqlalchemy_url(clean_database))
    yield engine
    await engine.dispose()


@pytest.fixture
def sync_engine(tables: str, clean_database: str) -> Iterator[Engine]:
    engine = create_engine(sqlalchemy_url(clean_database, "psycopg"))
    yield engine
    engine.dispose()


@pytest.fixture
def sync_sessions(sync_engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(sync_engine, expire_on_commit=False)
