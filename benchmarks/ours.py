"""Our side of every measurement, through the public API alone and at default settings.

The one file to mend when the public API changes. A handler receives what is published after it was first registered,
so ``install`` registers it and every module here gives it the same id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Literal
from uuid import UUID

from pydantic import PositiveInt
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.payload import order_fields
from benchmarks.subjects import Committed, Publish, Purpose, Started
from fastapi_events import (
    Delivery,
    Event,
    Events,
    EventsSettings,
    HandlerConnection,
    HandlerSession,
    Module,
    Retry,
    fixed,
)
from fastapi_events.engine.collector import calm_collector

Notify = Literal["after_commit", "transactional", "off"]
_LOAD_BATCH = 1000
_RETRY_AFTER_SECONDS = 1.0


class OrderPlaced(Event, name="bench.order.placed", aggregate="order", aggregate_id="order_id"):
    """The same fields as ``benchmarks.payload.Order``."""

    order_id: UUID
    number: int
    sku: str
    quantity: PositiveInt
    email: str
    address: str
    note: str


class Base(DeclarativeBase):
    """The tables of the measured application itself."""


class OrderRow(Base):
    """The row that a publishing transaction inserts."""

    __tablename__ = "bench_order"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int]
    note: Mapped[str]


class Effect(Base):
    """The row that a transactional handler inserts."""

    __tablename__ = "bench_effect"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    number: Mapped[int]


EFFECT = "INSERT INTO bench_effect (order_id, number) VALUES ($1, $2)"


@dataclass(frozen=True)
class Application:
    """A started instance with the application's own session factory."""

    events: Events
    sessions: async_sessionmaker[AsyncSession]

    async def publish(self, session: AsyncSession, number: int, **options: Any) -> None:
        """Publish one order in the session's transaction."""
        await self.events.publish(order_placed(number), session=session, **options)

    async def commit_order(self, number: int, events: Iterable[int]) -> Committed:
        """A user's transaction: one INSERT through the ORM, some events, COMMIT."""
        async with self.sessions() as session:
            session.add(OrderRow(**_order_row(number)))
            for event in events:
                await self.publish(session, event)
            sent = monotonic_ns()
            await session.commit()
            return Committed(sent, monotonic_ns())

    async def commit_events(self, numbers: Iterable[int]) -> Committed:
        """One transaction that holds nothing but events."""
        async with self.sessions() as session:
            for number in numbers:
                await self.publish(session, number)
            sent = monotonic_ns()
            await session.commit()
            return Committed(sent, monotonic_ns())


def order_placed(number: int) -> OrderPlaced:
    """Order ``number`` as an event."""
    return OrderPlaced(**order_fields(number))


def quiet(started: Started) -> Module:
    """A module whose handler does nothing but call ``started``."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced) -> None:
        started(event)

    return module


def by_session(started: Started) -> Module:
    """A module whose handler inserts one row, through a session, in the transaction that holds its mark."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced, session: HandlerSession) -> None:
        started(event)
        await session.execute(insert(Effect).values(order_id=event.order_id, number=event.number))

    return module


def by_connection(started: Started) -> Module:
    """The same row through the driver's connection."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced, connection: HandlerConnection) -> None:
        started(event)
        await connection.execute(EFFECT, event.order_id, event.number)

    return module


def failing_once(started: Callable[[OrderPlaced, int], None]) -> Module:
    """A module whose handler raises whatever ``started(event, attempt)`` raises, and is retried after a second."""
    module = Module("bench")
    retry = Retry(max_attempts=5, backoff=fixed(_RETRY_AFTER_SECONDS))

    @module.on(OrderPlaced, id="bench.handle", retry=retry)
    async def handle(event: OrderPlaced, delivery: Delivery) -> None:
        started(event, delivery.attempt)

    return module


@asynccontextmanager
async def running(
    url: str, module: Module | None = None, *, drains: bool = True, notify: Notify = "after_commit"
) -> AsyncIterator[Application]:
    """A started application; without a module, or with ``drains=False``, it publishes only."""
    engine = _engine(url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    settings = EventsSettings(database_url=url, auto_upgrade=True, notify=notify)
    events = Events(modules=[module or quiet(_ignore)], sessions=sessions, settings=settings)
    await events.start(drains=drains and module is not None)
    try:
        yield Application(events, sessions)
    finally:
        await events.stop()
        await engine.dispose()


class Ours:
    """Default settings throughout."""

    name = "fastapi_events"
    distribution = "fastapi-events-pg"

    async def install(self, url: str) -> None:
        """Make our schema and the application's tables, and register the handler."""
        engine = _engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()
        async with running(url, quiet(_ignore)):
            pass

    async def load(self, url: str, count: int) -> None:
        """Publish a thousand events per transaction."""
        async with running(url) as application:
            for first in range(1, count + 1, _LOAD_BATCH):
                await application.commit_events(range(first, min(first + _LOAD_BATCH, count + 1)))

    @asynccontextmanager
    async def worker(self, url: str, started: Started, purpose: Purpose) -> AsyncIterator[None]:
        """The same settings for every purpose, and the collector as the worker command leaves it."""
        async with running(url, quiet(started)):
            calm_collector()
            yield

    @asynccontextmanager
    async def publisher(self, url: str) -> AsyncIterator[Publish]:
        """A session per transaction, as in a request."""
        async with running(url) as application:

            async def publish(number: int) -> Committed:
                return await application.commit_events([number])

            yield publish

    def number_of(self, payload: Any) -> int:
        """The payload is the validated event."""
        return int(payload.number)

    async def unfinished(self, url: str) -> int:
        """Events that another process would still hand to the handler."""
        left: list[object] = []
        async with running(url, quiet(left.append), drains=False) as application:
            await application.events.drain_once()
        return len(left)


def _engine(url: str) -> AsyncEngine:
    return create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=20)


def _order_row(number: int) -> dict[str, Any]:
    fields = order_fields(number)
    return {"id": fields["order_id"], "number": number, "note": fields["note"]}


def _ignore(event: object) -> None:
    """A handler that nothing is expected of."""
