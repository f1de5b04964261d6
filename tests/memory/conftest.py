"""What tests of events on memory share."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool


@pytest.fixture
def seen() -> list[int]:
    return []


@pytest.fixture
def engine() -> Iterator[Engine]:
    """SQLite as a user's tests have it: one connection for all."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    yield engine
    engine.dispose()
