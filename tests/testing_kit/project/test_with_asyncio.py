from datetime import timedelta

import httpx
import pytest
from shop.events import OrderPlaced, StockReserved, app, reserved
from shop.events import events as the_object

from fastapi_events.testing import mock_handler

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("_", [1, 2])
async def test_each_test_finds_an_empty_database(_, events, published) -> None:
    assert events is the_object
    assert await reserved() == 0
    assert await published.everything() == []
    await events.publish(OrderPlaced(order_id=7))
    assert await reserved() == 0
    await events.drain_once()
    assert await reserved() == 1
    await published.one(StockReserved, order_id=7)
    assert events.settings.development


async def test_time_passes(events, events_clock) -> None:
    with mock_handler(events, "inventory.reserve", side_effect=[RuntimeError("no"), None]) as mock:
        await events.publish(OrderPlaced(order_id=7))
        await events.drain_once()
        await events.drain_once()
        assert mock.call_count == 1
        await events_clock.advance(timedelta(minutes=10))
        await events.drain_once()
        assert mock.call_count == 2


@pytest.mark.fastapi_events(running=True)
async def test_running(events, wait_for_event) -> None:
    assert events.settings.enabled
    await events.publish(OrderPlaced(order_id=9))
    await wait_for_event(OrderPlaced, handler="inventory.reserve", order_id=9)
    assert await reserved() == 1


@pytest.mark.fastapi_events(immediate=True)
async def test_immediate_through_the_app(events, published) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        assert (await client.post("/orders/8")).status_code == 201
    assert await reserved() == 1
    await published.one(StockReserved)


async def test_an_assertion_that_fails(events, published) -> None:
    await events.publish(OrderPlaced(order_id=1))
    await published.one(OrderPlaced, order_id=2)
