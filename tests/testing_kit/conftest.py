"""The stage on which a test's instances run."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.delivery.stage import Stage

# A user's project, whose tests run in a pytest of their own.
collect_ignore = ["project"]


@pytest_asyncio.fixture
async def stage(clean_database: str) -> AsyncIterator[Stage]:
    """A stage on the database of this run."""
    stage = Stage(clean_database)
    yield stage
    await stage.close()
