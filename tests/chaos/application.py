"""The application under chaos: an order's row and its event, and three handlers that leave effects behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from fastapi_events import Delivery, Event, Events, HandlerSession, Module, Retry, exponential
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import sqlalchemy_url
from tests.chaos.options import Options

TRANSACTIONAL = ("book", "bill")
PLAIN = "tell"

_EFFECT = text(
    "INSERT INTO chaos.effect (handler, order_id, account, seq, process, attempt) "
    "VALUES (:handler, :order_id, :account, :seq, :process, :attempt)"
)


class Placed(Event, name="chaos.order.placed", aggregate="account", aggregate_id="account"):
    """An order of an account; ``seq`` counts the account's orders."""

    order_id: UUID
    account: int
    seq: int


class ChosenToFail(Exception):
    """Raised for one event in twenty, at the first attempt."""


class Application:
    """One process's engine and ``Events``."""

    def __init__(
        self, url: str, options: Options, label: str, make: Callable[[Application], Module], *, pool: int = 8,
        batch_size: int = 50, **more: Any,
    ) -> None:  # fmt: skip
        self.label = label
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url), pool_size=pool, max_overflow=0, pool_timeout=10
        )
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        settings = EventsSettings(
            database_url=f"{url}&chaos.process={self.label}",
            lease=options.lease,
            heartbeat=options.heartbeat,
            poll_interval=options.poll_interval,
            batch_size=batch_size,
            lanes=("change",),
            handler_connections=4,
            concurrency={"events_change": 12},
            breaker_threshold=1000,  # its handlers fail often and by intention: a pause of theirs is no fault of ours
            shutdown_grace=2,
            **more,
        )
        self.events = Events([make(self)], sessions=self.sessions, settings=settings)

    async def effect(self, session: Any, handler: str, event: Placed, attempt: int = 1) -> None:
        """Leave an effect in the transaction of ``session``."""
        values = {
            "handler": handler, "order_id": event.order_id, "account": event.account, "seq": event.seq,
            "process": self.label, "attempt": attempt,
        }  # fmt: skip
        await session.execute(_EFFECT, values)

    async def lone_effect(self, handler: str, event: Placed, attempt: int = 1) -> None:
        """Leave an effect in a transaction of its own."""
        async with self.sessions() as session:
            await self.effect(session, handler, event, attempt)
            await session.commit()


def shop(app: Application) -> Module:
    """Two handlers whose effects commit with their acknowledgement, and one that has no session."""
    module = Module("chaos")
    often = Retry(max_attempts=8, backoff=exponential(0.05, cap=0.5))

    @module.on(Placed, id="book", retry=often)
    async def book(event: Placed, session: HandlerSession) -> None:
        await app.effect(session, "book", event)

    @module.on(Placed, id="bill", retry=often)
    async def bill(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        await app.effect(session, "bill", event, delivery.attempt)
        if delivery.attempt == 1 and event.order_id.int % 20 == 0:
            raise ChosenToFail(f"order {event.order_id}")

    @module.on(Placed, id="tell", retry=often)
    async def tell(event: Placed) -> None:
        await app.lone_effect("tell", event)

    return module


async def place(app: Application, session: AsyncSession, order_id: UUID, account: int) -> None:
    """An order's row and its event, in the session's transaction; orders of one account follow each other."""
    seq = (
        await session.execute(
            text("UPDATE chaos.account SET seq = seq + 1 WHERE id = :account RETURNING seq"), {"account": account}
        )
    ).scalar_one()
    await session.execute(
        text("INSERT INTO chaos.placed VALUES (:order_id, :account, :seq)"),
        {"order_id": order_id, "account": account, "seq": seq},
    )
    await app.events.publisher(session)(Placed(order_id=order_id, account=account, seq=seq))


async def warm_up(url: str, options: Options) -> None:
    """Use everything once in the process that the others are forked from, so that they need not load it."""
    app = Application(url, options, "warm", shop)
    await app.events.start(drains=True)
    async with app.sessions() as session:
        await place(app, session, uuid4(), 0)
        await session.commit()
    await app.events.drain_once()
    await app.events.stop()
    await app.engine.dispose()
