"""The helpers of tests ask both back ends the same, and get the same answers."""

import asyncio

import pytest

from fastapi_events import Events, Module, Retry, fixed
from fastapi_events.errors import NotFound
from fastapi_events.testing import PublishedEvents, mock_handler, wait_for, waiting
from fastapi_events.testing.services import news_of
from tests.conformance.backends import Backend, publish
from tests.delivery.stage import Pinged, Placed, Shipped, until, within


def shop(seen: list[int]) -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.place", retry=Retry(max_attempts=2, backoff=fixed(0)))
    async def place(event: Placed) -> None:
        seen.append(event.number)

    @module.on(Placed, id="shop.cache", broadcast=True)
    async def cache(event: Placed) -> None:
        seen.append(-event.number)

    return module


async def test_a_mock_stands_in_for_a_handler(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(shop(seen))
    with mock_handler(events, "shop.place", side_effect=[ValueError("once"), None]) as mock:
        with mock_handler(events, "shop.cache") as cached:
            await publish(events, Placed(order="a", number=1))
            await events.drain_once()
        assert cached.assert_called_once() == Placed(order="a", number=1)
        assert mock.events == [Placed(order="a", number=1)] * 2
    assert seen == []
    await publish(events, Placed(order="a", number=2))
    await events.drain_once()
    assert sorted(seen) == [-2, 2]
    with pytest.raises(NotFound, match=r"mock_handler\(\).*Did you mean 'shop.place'"), mock_handler(events, "place"):
        pass


async def test_what_is_published_is_told(backend: Backend) -> None:
    events = await backend.idle(shop([]))
    published = PublishedEvents(events)
    await publish(events, Placed(order="a", number=1), Placed(order="b", number=2), headers={"h": "1"})
    await events.publish(Pinged(number=3), delay=60)
    found = await published.one(Placed, order="b")
    assert (found.event.number, found.headers, found.due_at) == (2, {"h": "1"}, None)
    assert [one.name for one in await published.everything()] == [*["shop.order.placed"] * 2, "shop.page.pinged"]
    scheduled = await published.one(Pinged)
    assert scheduled.position is None
    assert scheduled.due_at is not None
    assert found.position is not None
    assert [one.event for one in await PublishedEvents(events, after=found.position - 1).all(Placed)] == [found.event]
    await published.none(Shipped)
    with pytest.raises(AssertionError, match=r"order='a' \(not 'c'\), number=1"):
        await published.one(Placed, order="c")
    async with events.session() as session:
        await events.publisher(session)(Shipped(order="c"))
        assert (await published(session).one(Shipped)).position is None
        await published.none(Shipped)
        await session.rollback()
    await published.none(Shipped)


async def test_an_event_is_waited_for(backend: Backend) -> None:
    seen = list[int]()
    events = await backend.idle(shop(seen))
    await publish(events, Placed(order="a", number=1))
    found = await wait_for(events, Placed, handler="shop.place", number=1)
    assert found.event.number in seen
    with pytest.raises(AssertionError, match="none published"):
        await wait_for(events, Shipped, timeout=0.01)


async def test_what_happens_in_this_process_is_heard_of_at_once(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "ELSEWHERE", 600.0)
    events = await backend.idle(shop([]))
    committed = asyncio.create_task(wait_for(events, Placed, timeout=600))
    handled = asyncio.create_task(wait_for(events, Placed, handler="shop.place", timeout=600))
    await _waiting(events, 2)
    await events.publish(Placed(order="a", number=1))
    assert (await within(committed)).event.number == 1
    await _waiting(events, 1)
    assert not handled.done()
    await events.drain_once()
    assert (await within(handled)).event.number == 1


async def _waiting(events: Events, many: int) -> None:
    """Return when so many wait for news, having looked."""
    news = news_of(events).waiting
    await until(lambda: len(news) == many and all(event._waiters for event in news))
