"""Every test here runs on PostgreSQL and on memory, unless it is marked ``postgres``."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.backends import Backend, Memory, Postgres
from tests.delivery.conftest import stage
from tests.delivery.stage import Stage

__all__ = ["backend", "memory_backend", "postgres_backend", "stage"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("postgres") is not None
        metafunc.parametrize("backend", ["postgres"] if alone else ["postgres", "memory"], indirect=True)


@pytest_asyncio.fixture
async def postgres_backend(stage: Stage) -> Postgres:
    return Postgres(stage)


@pytest_asyncio.fixture
async def memory_backend() -> AsyncIterator[Memory]:
    memory = Memory()
    yield memory
    await memory.close()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """The back end of this run of the test."""
    found: Backend = request.getfixturevalue(f"{request.param}_backend")
    return found
