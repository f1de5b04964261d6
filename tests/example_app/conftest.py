"""The example shop on a database of its own, asked over HTTP and handled step by step with ``drain_once``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

WITHIN = 20.0


class Shop:
    """What a test does with the shop. It is imported late: it reads its settings when it is."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        from example_app.composition import events

        self.client, self.events = client, events
        self.run = uuid4().hex[:8]

    async def order(self, **changes: Any) -> UUID:
        """Place an order that is accepted, and return its id."""
        response = await self.place(**changes)
        assert response.status_code == 201, response.text
        return UUID(response.json()["id"])

    async def place(self, **changes: Any) -> httpx.Response:
        order = {"reference": f"{self.run}-{uuid4().hex}", "sku": "LAMP", "quantity": 2, "email": "ana@example.com"}
        return await self.client.post("/orders", json=order | changes)

    async def status(self, order_id: UUID) -> str:
        return str((await self.client.get(f"/orders/{order_id}")).json()["status"])

    async def available(self, sku: str) -> int:
        return int((await self.client.get(f"/stock/{sku}")).json()["available"])

    async def events_of(self, order_id: UUID, **where: str) -> list[Any]:
        """The events of an order that the log holds, as the JSON API tells them."""
        terms = " ".join(f"{key}:{value}" for key, value in {"aggregate": f"order/{order_id}", **where}.items())
        page = await self.client.get("/events/api/events", params={"filter": terms})
        return list(page.raise_for_status().json()["events"])

    async def dead_letters(self, order_id: UUID) -> list[Any]:
        """The dead letters of an order."""
        page = (await self.client.get("/events/api/dead-letters")).raise_for_status().json()
        mine = {event["id"] for event in await self.events_of(order_id)}
        return [letter for letter in page["dead_letters"] if letter["event_id"] in mine]

    async def runs(self, **where: str) -> list[Any]:
        """Runs of jobs, as the JSON API tells them."""
        terms = " ".join(f"{key}:{value}" for key, value in where.items())
        page = await self.client.get("/events/api/runs", params={"filter": terms})
        return list(page.raise_for_status().json()["runs"])

    async def told_of(self, run_id: str) -> Any:
        """One run with all that is known of it."""
        return (await self.client.get(f"/events/api/runs/{run_id}")).raise_for_status().json()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Handle what is due until the condition holds."""
        async with asyncio.timeout(WITHIN):
            while not await condition():
                await self.events.drain_once()
                await asyncio.sleep(0.01)

    async def until_status(self, order_id: UUID, status: str) -> None:
        async def reached() -> bool:
            return await self.status(order_id) == status

        await self.until(reached)


@pytest_asyncio.fixture(scope="session")
async def shop_database(server_url: str) -> AsyncIterator[str]:
    """A database for the shop alone, without any schema: the shop installs what it needs."""
    async with _database(server_url, f"example_shop_{os.getpid()}") as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def demo_database(server_url: str) -> AsyncIterator[str]:
    """The same for the demonstration, which leaves orders behind that a killed worker did not finish."""
    async with _database(server_url, f"example_demo_{os.getpid()}") as url:
        yield url


@asynccontextmanager
async def _database(server_url: str, name: str) -> AsyncIterator[str]:
    await _run(server_url, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    await _run(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def shop_environment(shop_database: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "EVENTS_DEV": "1",
        "EVENTS_DATABASE_URL": shop_database,
        "EVENTS_AUTO_UPGRADE": "1",
        "SHOP_DELIVERY_SECONDS": "0.01",
        "SHOP_INVOICE_FOLDER": str(tmp_path_factory.mktemp("invoices")),
    }


@pytest_asyncio.fixture(scope="module")
async def open_shop(shop_environment: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """The web app, started; it publishes only, so that tests say when something is handled.

    It ends with its module: other tests start instances of their own, and read settings.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (shop_environment | {"EVENTS_WORKER": "standalone"}).items():
            patch.setenv(name, value)
        from example_app.main import app

        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
        ):
            yield client


@pytest.fixture
def shop(open_shop: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with a payment provider in its best mood."""
    from example_app.payments.provider import provider

    monkeypatch.setattr(provider, "temper", lambda key: "reliable")
    return Shop(open_shop)


@pytest.fixture
def temper(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the payment provider's mood."""
    from example_app.payments.provider import provider

    return lambda mood: monkeypatch.setattr(provider, "temper", lambda key: mood)


@pytest.fixture
def invoice_folder(shop_environment: dict[str, str]) -> Path:
    return Path(shop_environment["SHOP_INVOICE_FOLDER"])
