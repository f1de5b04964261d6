"""The stage: database, web app and worker, set up, watched and taken down."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from example_app.composition import events
from example_app.db import SessionLocal, create_tables, engine
from example_app.demo.children import Child, running
from example_app.inventory.catalogue import fill_shelves

READY_WITHIN = 60.0
PORT = 8000
"""The port of the web app, if it is free; else any."""


@dataclass(frozen=True)
class Stage:
    """The shop while it is open."""

    client: httpx.AsyncClient
    children: tuple[Child, ...]

    def check(self) -> None:
        """Raise ``ChildEnded`` if a process is gone."""
        for child in self.children:
            child.check()

    async def ready(self) -> None:
        """Wait until the web app says that it is ready; raises ``TimeoutError`` after a minute."""
        async with asyncio.timeout(READY_WITHIN):
            while not await self._is_ready():
                self.check()
                await asyncio.sleep(0.2)

    async def _is_ready(self) -> bool:
        try:
            return (await self.client.get(f"{events.prefix}/health/ready")).is_success
        except httpx.TransportError:  # it is not listening yet
            return False


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncGenerator[Stage]:
    """Run the shop as it would be run for real: a web app that only publishes, and a worker beside it."""
    port = str(_free_port())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        await create_tables()
        async with SessionLocal.begin() as session:
            await fill_shelves(session)
        web = ["-m", "uvicorn", "example_app.main:app", "--host", "127.0.0.1", "--port", port]
        worker = ["-m", "fastapi_events.cli", "worker", "--app", "example_app.composition:events"]
        children = (
            await stack.enter_async_context(running("web app", *web, folder=folder, EVENTS_WORKER="standalone")),
            await stack.enter_async_context(running("worker", *worker, folder=folder)),
        )
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}"))
        yield Stage(client, children)


def _free_port() -> int:
    for wanted in (PORT, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise OSError("No port of 127.0.0.1 is free.")
