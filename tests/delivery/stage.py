"""A stage for tests of delivery: instances on one database, events to publish, and conditions to wait for."""

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker

from fastapi_events import Event, Events, EventsSettings, Middleware, Module

# Small enough for a test to see several of each; a lease long enough that only a test takes it away.
QUICK: dict[str, Any] = {
    "poll_interval": 0.2,
    "lease": 5.0,
    "heartbeat": 0.2,
    "shutdown_grace": 2.0,
    "contended_budget": 60.0,
    "inline_budget": 60.0,  # a slow machine shall detach nothing: tests of that set their own
    "breaker_threshold": 1000,
    "backoff": "fixed",
    "backoff_first": 0.0,
    "backoff_jitter": False,
}
PATIENCE = 15.0


SLOW: dict[str, Any] = {"poll_interval": 600.0, "poll_interval_degraded": 600.0}
"""Polling that no test waits for: only a wake-up can have brought the event."""


class Placed(Event, name="shop.order.placed", aggregate_id="order"):
    """An event with an ordering key."""

    order: str
    number: int = 0


class Shipped(Event, name="shop.order.shipped", aggregate_id="order"):
    """What handlers of ``Placed`` publish."""

    order: str
    number: int = 0


class Pinged(Event, name="shop.page.pinged"):
    """An event without an ordering key."""

    number: int = 0


def collecting(seen: list[int]) -> Module:
    """A module whose handlers note the numbers of what they are given."""
    module = Module("shop")

    @module.on(Placed)
    async def placed(event: Placed) -> None:
        seen.append(event.number)

    @module.on(Pinged)
    async def pinged(event: Pinged) -> None:
        seen.append(event.number)

    return module


@lru_cache(maxsize=256, typed=True)
def _settings(*given: tuple[str, Any]) -> EventsSettings:
    """Settings cannot be changed, so instances may share them: to read and check them takes as long as to start."""
    return EventsSettings(**dict(given))


class Stage:
    """One database and the instances that a test starts on it; all of them are stopped at its end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.instances: list[Events] = []
        self.connection: Any = None

    def settings(self, **changes: Any) -> EventsSettings:
        given = {"database_url": self.url, **QUICK, **changes}
        try:
            return _settings(*given.items())
        except TypeError:  # a list, say, cannot be remembered
            return EventsSettings(**given)

    def make(
        self,
        *modules: Module,
        group: str | None = None,
        sessions: async_sessionmaker[Any] | None = None,
        sync_sessions: Any = None,
        middleware: Sequence[Middleware] = (),
        **settings: Any,
    ) -> Events:
        """An instance that has not been started."""
        events = Events(
            modules, group=group, sessions=sessions, sync_sessions=sync_sessions, middleware=middleware,
            settings=self.settings(**settings),
        )  # fmt: skip
        self.instances.append(events)
        return events

    async def idle(self, *modules: Module, **options: Any) -> Events:
        """A started instance that handles events only when ``drain_once()`` is called."""
        events = self.make(*modules, **options)
        await events.start(drains=False)
        return events

    async def running(self, *modules: Module, **options: Any) -> Events:
        """A started instance that handles events by itself."""
        events = self.make(*modules, **options)
        await events.start(drains=True)
        return events

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Run one statement beside everything else."""
        if self.connection is None:
            self.connection = await asyncpg.connect(self.url, server_settings={"application_name": "stage"})
        return await self.connection.fetch(query, *arguments)

    async def value(self, query: str, *arguments: Any) -> Any:
        rows = await self.rows(query, *arguments)
        return rows[0][0] if rows else None

    async def deliveries(self, state: str | None = None) -> list[Any]:
        """Deliveries with the names of their handlers, in position order."""
        return await self.rows(
            "SELECT d.*, h.name AS handler FROM events.delivery d JOIN events.handler h ON h.id = d.handler_id "
            "WHERE $1::text IS NULL OR d.state = $1 ORDER BY d.position, h.name",
            state,
        )

    async def make_due(self) -> None:
        """Let everything that waits for its back-off be due now."""
        await self.rows(
            "UPDATE events.parked_key SET due_at = clock_timestamp() WHERE blocked AND due_at < 'infinity' "
            "AND worker_id IS NULL"
        )

    async def close(self) -> None:
        for events in reversed(self.instances):
            await events.stop()
        if self.connection is not None:
            await self.connection.close()


async def until(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> Any:
    """Wait until ``condition`` (a call or a coroutine function) is true, and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.005)


async def within(awaitable: Any, seconds: float = PATIENCE) -> Any:
    """Await something that a defect would make wait for ever."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def effect(session: Any, handler: str, number: int, label: str | None = None) -> None:
    """What a transactional handler does to the application's own tables."""
    await (await session.connection()).execute(
        text("INSERT INTO effect VALUES (:handler, :number, :label)"),
        {"handler": handler, "number": number, "label": label},
    )


async def publish(events: Events, published: Sequence[Event], **options: Any) -> None:
    """Publish several events in one transaction."""
    async with events.session() as session:
        publisher = events.publisher(session)
        for event in published:
            await publisher(event, **options)
        await session.commit()
