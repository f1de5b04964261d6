"""A pooler and a stage behind it for each test: what one test leaves on server connections no other can meet."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.delivery.conftest import EFFECTS
from tests.pgbouncer.pooler import PgBouncer, PooledStage, find_pgbouncer


@pytest_asyncio.fixture
async def pooler(database_url: str) -> AsyncIterator[PgBouncer]:
    """A PgBouncer before the database of this run; without the program the test is skipped."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip("NO PGBOUNCER FOUND: install `pgbouncer` on the PATH to run the tests of its transaction mode")
    pooler = PgBouncer(program, database_url)
    try:
        await pooler.start()
        yield pooler
    finally:
        pooler.stop()


@pytest_asyncio.fixture
async def stage(clean_database: str, pooler: PgBouncer) -> AsyncIterator[PooledStage]:
    """A stage behind the pooler, with an empty table ``effect`` for handlers to write to.

    Whatever a test does, it leaves nothing behind on the server connections.
    """
    stage = PooledStage(clean_database, pooler)
    await stage.begin()
    await stage.rows(EFFECTS)
    await stage.rows("DELETE FROM effect")
    assert await stage.leftovers() == []
    yield stage
    await stage.close()
    assert await stage.leftovers() == []
