"""Events that come later, and those that are taken back before."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from fastapi_events import EventPublisher, HandlerSession
from fastapi_events.errors import NotInTransaction
from tests.conformance.backends import Backend, publish
from tests.delivery.stage import Placed, collecting


async def test_a_delayed_event_comes_when_it_is_due(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        later = await publisher(Placed(order="a", number=1), delay=timedelta(hours=1))
        at = await publisher(Placed(order="a", number=2), at=datetime.now(UTC) + timedelta(minutes=30))
        now = await publisher(Placed(order="a", number=3), at=datetime.now(UTC) - timedelta(days=1))
        await session.commit()
    assert (later.scheduled, at.scheduled) == (True, True)
    await events.drain_once()
    assert seen == [3]
    page = await events.observe.scheduled()
    assert [one.id for one in page.events] == [at.event_id, later.event_id]
    assert now.event_id not in {one.id for one in page.events}
    await backend.later(1801)
    await events.drain_once()
    assert seen == [3, 2]
    await backend.later(1801)
    await events.drain_once()
    assert seen == [3, 2, 1]
    assert (await events.observe.scheduled()).scheduled == 0


async def test_a_schedule_is_rolled_back_with_its_transaction(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=1), delay=60)
        await session.rollback()
    await backend.later(61)
    await events.drain_once()
    assert seen == []


async def test_a_cancelled_event_never_comes(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(collecting(seen))
    given = uuid4()
    first = await events.publish(Placed(order="a", number=1), delay=60)
    await events.publish(Placed(order="a", number=2), delay=60, event_id=given)
    async with events.session() as session:
        publisher = events.publisher(session)
        own = await publisher(Placed(order="a", number=3), delay=60)
        assert await publisher.cancel(first.event_id)
        assert await publisher.cancel(own.event_id)
        assert not await publisher.cancel(own.event_id)
        assert not await publisher.cancel(uuid4())
        await session.commit()
    assert await events.operations.cancel_scheduled(given, actor="ann")
    assert not await events.operations.cancel_scheduled(given, actor="ann")
    assert (await events.publish(Placed(order="a", number=4), delay=60, event_id=given)).duplicate
    await backend.later(61)
    await events.drain_once()
    assert seen == []


async def test_a_cancellation_is_rolled_back_too(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(collecting(seen))
    published = await events.publish(Placed(order="a", number=1), delay=60)
    async with events.session() as session:
        assert await events.publisher(session).cancel(published.event_id)
        await session.rollback()
    await backend.later(61)
    await events.drain_once()
    assert seen == [1]


async def test_what_is_due_comes_in_the_order_of_its_times(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(collecting(seen))
    for number, delay in ((1, 30), (2, 10), (3, 20), (4, 10)):
        await publish(events, Placed(order="a", number=number), delay=delay)
    await backend.later(31)
    await events.drain_once()
    assert seen == [2, 4, 3, 1]


async def test_a_handler_schedules_and_cancels_in_its_transaction(backend: Backend) -> None:
    seen = list[int]()
    module = collecting(seen)
    waiting = {}

    @module.on(Placed, id="remind")
    async def remind(event: Placed, publish: EventPublisher, session: HandlerSession) -> None:
        if event.number == 1:
            waiting["reminder"] = (await publish(Placed(order="a", number=9), delay=60)).event_id
        if event.number == 2:
            assert await publish.cancel(waiting["reminder"])

    @module.on(Placed, id="without")
    async def without(event: Placed, publish: EventPublisher) -> None:
        with pytest.raises(NotInTransaction):
            await publish.cancel(uuid4())

    events = await backend.idle(module)
    await publish(events, Placed(order="a", number=1))
    await events.drain_once()
    await publish(events, Placed(order="a", number=2))
    await events.drain_once()
    await backend.later(61)
    await events.drain_once()
    assert seen == [1, 2]
    assert (await events.observe.dead_letters()).matching == 0
