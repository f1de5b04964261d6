"""Alembic's environment for the library's own schema.

Run it by itself (``alembic -c fastapi_events/migrations/alembic.ini upgrade head`` with ``EVENTS_DATABASE_URL`` set),
or add ``fastapi_events:migrations/versions`` to the ``version_locations`` of your own environment, where the revisions
form the branch ``fastapi_events``.
"""

from __future__ import annotations

import asyncio
import os

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import context
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.schema.steps import preparation

SCHEMA = os.environ.get("EVENTS_SCHEMA", "events")


def run_offline() -> None:
    """Print the SQL."""
    context.configure(dialect_name="postgresql", version_table_schema=SCHEMA, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run(connection: Connection) -> None:
    """Run on a connection."""
    connection.exec_driver_sql(preparation(SCHEMA))
    context.configure(connection=connection, version_table_schema=SCHEMA)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


async def run_online() -> None:
    """Connect and run."""
    url = context.config.get_main_option("sqlalchemy.url") or os.environ.get("EVENTS_DATABASE_URL")
    if not url:
        raise SystemExit("Set EVENTS_DATABASE_URL, or sqlalchemy.url in the configuration.")
    engine = create_async_engine(
        sqlalchemy_url(url), connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    run_offline()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(run_online())
