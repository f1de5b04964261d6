"""The dashboard in a real browser: the seeded shop behind a server on the loopback address."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import uvicorn

from tests.dashboard.ground import Ground, bare, connection, shop
from tests.dashboard.works import works_on

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

__all__ = ["bare", "connection", "shop"]


@dataclass
class Site:
    """A served dashboard, and what browsers have complained about while they looked at it."""

    base: str
    ground: Any
    browser: "Browser"
    complaints: list[str] = field(default_factory=list)
    contexts: list["BrowserContext"] = field(default_factory=list)

    async def open(self, path: str = "", **options: Any) -> "Page":
        """A new window; everything it logs, every error and every request that leaves the site is a complaint."""
        context = await self.browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._check_request)
        await page.goto(f"{self.base}{path}")
        return page

    def _check_request(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:")):
            self.complaints.append(f"request: {request.url}")


async def _served(ground: Any, browser: "Browser") -> AsyncIterator[Site]:
    async with _server_of(ground.app) as base:
        site = Site(base, ground, browser)
        yield site
        for context in site.contexts:
            await context.close()


@asynccontextmanager
async def _server_of(app: Any) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/events/dashboard"
    server.should_exit = True
    await task
    listener.close()


@pytest_asyncio.fixture
async def site(shop: Ground, browser: "Browser") -> AsyncIterator[Site]:
    """The busy shop, served."""
    async for served in _served(shop, browser):
        yield served


@pytest_asyncio.fixture
async def empty_site(bare: Ground, browser: "Browser") -> AsyncIterator[Site]:
    """A house without handlers and events, served."""
    async for served in _served(bare, browser):
        yield served


@pytest_asyncio.fixture
async def works_site(clean_database: str, browser: "Browser") -> AsyncIterator[Site]:
    """An application with jobs and runs of every kind, served."""
    async with works_on(clean_database) as works:
        async for served in _served(works, browser):
            yield served


@pytest.fixture
def quick_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages refresh every second instead of every five."""
    from fastapi_events.dashboard import desk

    monkeypatch.setattr(desk, "REFRESH", 1)
