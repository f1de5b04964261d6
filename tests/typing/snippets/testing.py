"""What tests of users write, and what cannot be meant."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events import Event, Events, Job
from fastapi_events.testing import (
    FakeJobContext,
    HandlerMock,
    PublishedEvent,
    PublishedEvents,
    StartedRun,
    StartedRuns,
    TimeMachine,
    mock_handler,
    wait_for,
)


class OrderPlaced(Event, name="orders.order.placed"):
    order_id: int


class OrderPaid(Event, name="orders.order.paid"):
    cents: int


async def test_it(events: Events, session: AsyncSession) -> None:
    published = PublishedEvents(events)
    placed: PublishedEvent[OrderPlaced] = await published.one(OrderPlaced, order_id=7)
    number: int = placed.event.order_id
    paid: list[PublishedEvent[OrderPaid]] = await published.all(OrderPaid, where=lambda e: e.cents > number)
    await published(session).none(OrderPlaced)
    await published.one(OrderPaid, where=lambda e: e.order_id > 0)  # wrong
    wrong: PublishedEvent[OrderPaid] = await published.one(OrderPlaced)  # wrong
    await published.one("orders.order.placed")  # wrong
    with mock_handler(events, "inventory.reserve", side_effect=[ValueError(), None]) as mock:
        kept: HandlerMock = mock
        kept.side_effect = TimeoutError
    await TimeMachine(events).advance(timedelta(hours=1))
    await TimeMachine(events).advance(3600)
    await TimeMachine(events).advance("1 h")  # wrong
    await wait_for(events, OrderPlaced, handler="inventory.reserve", state="dead", order_id=7)
    await wait_for(events, OrderPlaced, state="asleep")  # wrong
    print(paid, wrong)


async def test_jobs(events: Events, session: AsyncSession, count: Job[str, int]) -> None:
    started = StartedRuns(events)
    one: StartedRun[str] = await started.one(count, "a")
    text: str = one.input
    await started(session).none(count, where=lambda given: given.startswith("a"))
    await started.none(count, 7)  # wrong
    wrong: StartedRun[int] = await started.one(count)  # wrong
    job = FakeJobContext(count, "a", steps={"first": 1}, tags=[text])
    number: int = await job.call(session=session)
    FakeJobContext(count, 7)  # wrong
    print(number, wrong)
