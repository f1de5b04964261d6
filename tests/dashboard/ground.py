"""An application with the operators' routes over a seeded database, as tests of pages, API and browser need it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import asyncpg
import httpx
import pytest_asyncio
from fastapi import APIRouter, FastAPI, HTTPException, Request
from pydantic import SecretStr

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.api.operator_port import Health
from fastapi_events.api.routes import api_router, health_router
from fastapi_events.dashboard import dashboard_router
from fastapi_events.model.event import Event
from fastapi_events.model.registry import Registry
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import DeadLetterStore
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import GroupStore
from fastapi_events.store.groups import GroupRemoval
from fastapi_events.store.schedule import ScheduleStore
from fastapi_events.store.statements import Statements
from tests.dashboard.seeding import Seeded, Seeding, seed_shop

ORIGIN = "http://testserver"


class CardStored(Event, name="payments.card.stored", aggregate="card"):
    """An event with a field that is secret by its type, not by its name."""

    holder: str
    number: SecretStr


@dataclass
class Port:
    """What the routes need of an instance; ``operations`` are the real ones."""

    observe: Observe
    operations: Operations
    settings: EventsSettings = field(default_factory=lambda: EventsSettings(development=True))
    authorize: Callable[..., Any] | None = None
    registry: Registry = field(default_factory=lambda: Registry([]))
    state: Health | Exception = field(default_factory=lambda: Health("ok", "running", "listening"))

    async def health(self) -> Health:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


def routes_of(port: Port) -> APIRouter:
    """All routes, as the plugin puts them together."""
    router = APIRouter(prefix="/events")
    router.include_router(health_router(port))
    router.include_router(api_router(port))
    router.include_router(dashboard_router(port))
    return router


def app_of(port: Port) -> FastAPI:
    """An application with nothing else in it."""
    app = FastAPI()
    app.include_router(routes_of(port))
    return app


class Standing:
    """Stands for the port of the running test. The routes over it are made once: that takes longer than most tests."""

    port: Port

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)

    @staticmethod
    @cache
    def app() -> tuple[Standing, FastAPI]:
        standing: Any = Standing()
        standing.port = Port(standing, standing)  # nobody is asked while the routes are made
        return standing, app_of(standing)


def client_of(app: Any, **options: Any) -> httpx.AsyncClient:
    """A client that behaves like a browser on one of our pages."""
    headers = {"Sec-Fetch-Site": "same-origin"} | options.pop("headers", {})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, headers=headers, **options)


def by_header(request: Request) -> Actor:
    """An ``authorize`` that believes a header: ``X-Permissions: view,operate``."""
    given = request.headers.get("x-permissions")
    if given is None:
        raise HTTPException(401, "Sign in first.", {"WWW-Authenticate": "Bearer"})
    return Actor("ada@shop.example", "Ada", frozenset(Permission(name) for name in given.split(",") if name))


@dataclass
class Ground:
    """A seeded database and everything on top of it."""

    port: Port
    app: FastAPI
    client: httpx.AsyncClient
    seeding: Seeding
    seeded: Seeded
    connection: asyncpg.Connection[Any]
    url: str


@pytest_asyncio.fixture
async def connection(clean_database: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(clean_database, server_settings={"synchronous_commit": "off"})
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def bare(clean_database: str, connection: asyncpg.Connection[Any]) -> AsyncIterator[Ground]:
    """A group without handlers and events."""
    seeding = await Seeding.on(connection)
    await seeding.group()
    async with ground_on(clean_database, connection, seeding) as ground:
        yield ground


@pytest_asyncio.fixture
async def shop(clean_database: str, connection: asyncpg.Connection[Any]) -> AsyncIterator[Ground]:
    """A shop's busy half hour."""
    seeding = await Seeding.on(connection)
    seeding.seeded = await seed_shop(connection)
    async with ground_on(clean_database, connection, seeding) as ground:
        yield ground


class ground_on:  # noqa: N801 - a context manager
    """Puts port, application and client on a seeded database."""

    def __init__(self, url: str, connection: asyncpg.Connection[Any], seeding: Seeding) -> None:
        self._url, self._connection, self._seeding = url, connection, seeding

    async def __aenter__(self) -> Ground:
        seeded = self._seeding.seeded
        self._database = Database(self._url)
        await self._database.open()
        statements = Statements()
        operations = Operations(
            DeadLetterStore(self._database, statements), GateStore(self._database, statements),
            GroupStore(self._database, statements), ScheduleStore(self._database, statements),
            GroupRemoval(self._database, statements), lambda: seeded.group,
            keys_due=lambda: None, handlers_changed=lambda: None,
        )  # fmt: skip
        registry = Registry([])
        registry.learn(CardStored)
        self._port = Port(Observe(self._url, group="shop"), operations, registry=registry)
        standing, app = Standing.app()
        standing.port = self._port
        self._client = client_of(app)
        return Ground(self._port, app, self._client, self._seeding, seeded, self._connection, self._url)

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._port.observe.close()
        await self._database.close()
