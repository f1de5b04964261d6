"""Our side of the points where a handler hangs, drags on or fails; the rest of it is in ``benchmarks.ours``.

Worker processes register these handlers when they start: start them before anything is published for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from benchmarks.ours import Application, OrderPlaced, order_placed, running
from benchmarks.subjects import Started
from fastapi_events import Breaker, Event, EventsSettings, HandlerSession, Module, Retry, fixed
from fastapi_events.engine.collector import calm_collector

REPLAYED = "bench.rebuild"
HOT_KEY = "one-order-of-many-changes"
_LOAD_BATCH = 1000
# Longer than any measurement, in seconds.
_LONG = 3600.0
# A call to a service that is down is answered, by a refusal, after a network's round trip.
_REFUSAL_SECONDS = 0.01


class ReceiptRequested(Event, name="bench.receipt.requested", direction="outbound"):
    """Outbound, handled without a session."""

    number: int


class InvoiceRequested(Event, name="bench.invoice.requested", direction="outbound"):
    """Outbound, handled in a session."""

    number: int


class ReportRequested(Event, name="bench.report.requested", aggregate="report", aggregate_id="number"):
    """Of the same lane as the orders; its handler takes its time."""

    number: int


class PaymentDue(Event, name="bench.payment.due", aggregate="customer", aggregate_id="customer"):
    """Of the same lane as the orders; its handler needs a service that is down for a while."""

    customer: int
    number: int


class ShelfCounted(Event, name="bench.shelf.counted", aggregate="shelf", aggregate_id="shelf"):
    """Of the past; it is replayed."""

    shelf: int
    number: int


class Counted:
    """How often a handler was called."""

    def __init__(self) -> None:
        self.calls = 0


class Hanging:
    """Handlers that wait until they are released, and how many of them do."""

    def __init__(self) -> None:
        self.count = 0
        self._released = asyncio.Event()

    async def __call__(self) -> None:
        """Hang."""
        self.count += 1
        try:
            await self._released.wait()
        finally:
            self.count -= 1

    def release(self) -> None:
        """Let all of them return, those to come at once."""
        self._released.set()


def beside_hanging(plain: Started, in_session: Started, hang: Hanging) -> Module:
    """Orders handled without and, after that, in a session; and outbound handlers of both kinds that only hang."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced) -> None:
        plain(event)

    @module.on(OrderPlaced, id="bench.handle_in_session")
    async def handle_in_session(event: OrderPlaced, session: HandlerSession) -> None:
        in_session(event)

    @module.on(ReceiptRequested, id="bench.hang", timeout=_LONG)
    async def hang_plainly(event: ReceiptRequested) -> None:
        await hang()

    @module.on(InvoiceRequested, id="bench.hang_in_session", timeout=_LONG)
    async def hang_in_session(event: InvoiceRequested, session: HandlerSession) -> None:
        await hang()

    return module


def beside_replay(started: Started, counted: Counted) -> Module:
    """Orders handled live, and the handler that old events are replayed to."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced) -> None:
        started(event)

    @module.on(ShelfCounted, id=REPLAYED)
    async def rebuild(event: ShelfCounted) -> None:
        counted.calls += 1

    return module


def beside_slow(fast: Started, slow: Callable[[Literal["begun", "ended"]], None], seconds: float) -> Module:
    """Orders handled at once, and reports that take ``seconds`` each."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced) -> None:
        fast(event)

    @module.on(ReportRequested, id="bench.report")
    async def report(event: ReportRequested) -> None:
        slow("begun")
        await asyncio.sleep(seconds)
        slow("ended")

    return module


def beside_failing(other: Started, pay: Callable[[PaymentDue], None], breaker: Breaker) -> Module:
    """Orders handled at once, and payments for which ``pay`` raises while the service is down."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle")
    async def handle(event: OrderPlaced) -> None:
        other(event)

    @module.on(PaymentDue, id="bench.pay", breaker=breaker)
    async def take_payment(event: PaymentDue) -> None:
        await asyncio.sleep(_REFUSAL_SECONDS)
        pay(event)

    return module


def failing_head(called: Callable[[OrderPlaced], None]) -> Module:
    """A handler that raises what ``called`` raises, and is tried again long after the measurement."""
    module = Module("bench")

    @module.on(OrderPlaced, id="bench.handle", retry=Retry(max_attempts=5, backoff=fixed(_LONG)))
    async def handle(event: OrderPlaced) -> None:
        called(event)

    return module


def concurrency(lane: Literal["change", "outbound"]) -> int:
    """Handlers of a lane that run at once in one process."""
    return EventsSettings().lane_concurrency[lane]


@asynccontextmanager
async def working(url: str, module: Module) -> AsyncIterator[Application]:
    """A running worker with these handlers, its garbage collector as the worker command leaves it."""
    async with running(url, module) as application:
        calm_collector()
        yield application


async def load_one_key(url: str, count: int) -> None:
    """Publish the orders 1 to ``count``, all under one ordering key, a thousand per transaction."""
    async with running(url) as application:
        for first in range(1, count + 1, _LOAD_BATCH):
            events = [order_placed(number) for number in range(first, min(first + _LOAD_BATCH, count + 1))]
            async with application.sessions() as session:
                for event in events:
                    await application.events.publish(event, session=session, key=HOT_KEY)
                await session.commit()


async def load_payments(url: str, count: int, customers: int) -> None:
    """Publish ``count`` payments, due in turn by so many customers, in one transaction: they become visible at once."""
    async with running(url) as application, application.sessions() as session:
        for number in range(count):
            payment = PaymentDue(customer=number % customers, number=number)
            await application.events.publish(payment, session=session)
        await session.commit()
