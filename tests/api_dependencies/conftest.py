"""Applications over the shop of the publishing tests, called by ASGI inside the process."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from tests.publishing.conftest import engine, log, port, sessions, sync_engine, sync_sessions, tables
from tests.publishing.shop import Port

__all__ = ["engine", "log", "port", "sessions", "sync_engine", "sync_sessions", "tables"]

Client = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Instance:
    """What the dependencies need of an ``Events`` object."""

    def __init__(
        self, port: Port, sessions: async_sessionmaker[AsyncSession], sync_sessions: sessionmaker[Session]
    ) -> None:
        self.publishing = port
        self.session = sessions
        self.sync_session = sync_sessions


@pytest.fixture
def instance(port: Port, sessions: async_sessionmaker[AsyncSession], sync_sessions: sessionmaker[Session]) -> Instance:
    return Instance(port, sessions, sync_sessions)


@pytest.fixture
def app(instance: Instance) -> FastAPI:
    app = FastAPI()
    app.state.fastapi_events = instance
    return app


@pytest.fixture
def client() -> Client:
    """Clients that answer 500 where a server would, instead of raising."""

    @asynccontextmanager
    async def connect(app: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop", **options) as client:
            yield client

    return connect
