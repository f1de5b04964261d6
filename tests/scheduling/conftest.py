"""The stage of delivery, and the sessions and connections of publishing."""

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.delivery.conftest import stage
from tests.publishing.conftest import connection, engine, log, port, sessions, sync_engine, tables
from tests.publishing.shop import Port
from tests.scheduling.ways import WAYS, Way, Ways

__all__ = ["connection", "engine", "log", "port", "sessions", "stage", "sync_engine", "tables"]


@pytest.fixture
def ways(port: Port, engine: AsyncEngine, sync_engine: Engine, connection: Any) -> Ways:
    return Ways(port, engine, sync_engine, connection)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, ways: Ways) -> Way:
    """One transaction after the other, of each kind."""
    return ways[request.param]
