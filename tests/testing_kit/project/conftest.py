import asyncio

import pytest
from shop.events import Base
from sqlalchemy.ext.asyncio import create_async_engine


@pytest.fixture(scope="session")
def events_tables(events_database_url: str) -> None:
    async def make() -> None:
        engine = create_async_engine(events_database_url.replace("postgresql:", "postgresql+asyncpg:", 1))
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()

    asyncio.run(make())
