"""The shop's database, which its events live in too. It imports no FastAPI: the worker needs it as well."""

from sqlalchemy import func, make_url, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.schema import CreateSchema

from example_app.settings import settings
from example_app.tables import ShopTable

engine = create_async_engine(make_url(settings.database_url).set(drivername="postgresql+asyncpg"))
SessionLocal = async_sessionmaker(engine, expire_on_commit=False)


async def create_tables() -> None:
    """Create the tables that are not there yet; several processes may call it at once."""
    async with engine.begin() as connection:
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("shop.create_tables"))))
        await connection.execute(CreateSchema("shop", if_not_exists=True))
        await connection.run_sync(ShopTable.metadata.create_all)
