"""The stage on which a test's instances run."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.delivery.stage import Stage

EFFECTS = """
    CREATE TABLE IF NOT EXISTS effect (
        handler text NOT NULL, number integer NOT NULL, label text UNIQUE,
        written bigint GENERATED ALWAYS AS IDENTITY)
"""


@pytest_asyncio.fixture
async def stage(clean_database: str) -> AsyncIterator[Stage]:
    """A stage on the database of this run, with an empty table ``effect`` for handlers to write to."""
    stage = Stage(clean_database)
    await stage.rows(EFFECTS)
    await stage.rows("DELETE FROM effect")
    yield stage
    await stage.close()
