import pytest
from shop.events import OrderPlaced, reserved


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_with_anyio(events, published) -> None:
    await events.publish(OrderPlaced(order_id=7))
    await events.drain_once()
    assert await reserved() == 1
    await published.one(OrderPlaced)
