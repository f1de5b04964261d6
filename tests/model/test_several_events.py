"""One function that is declared for several events handles each of them, with dependencies of its own."""

from typing import Annotated

from fastapi import Depends

from fastapi_events import Delivery, HandlerSession, Module
from tests.delivery.stage import Pinged, Placed, Shipped, Stage


def tariff() -> int:
    return 3


async def test_stacked_decorators(stage: Stage) -> None:
    shop, seen = Module("shop"), list[tuple[str, int]]()

    @shop.on(Placed)
    @shop.on(Shipped, id="shop.handle_shipped", idempotency_key=lambda e: f"shipped-{e.order}")
    async def handle(
        event: Placed | Shipped, session: HandlerSession, delivery: Delivery, cents: Annotated[int, Depends(tariff)]
    ) -> None:
        await session.connection()
        seen.append((f"{type(event).__name__} {delivery.idempotency_key}", cents))

    events = await stage.idle(shop)
    placed = await events.publish(Placed(order="a"))
    await events.publish(Shipped(order="b"))
    await events.publish(Pinged(number=1))
    await events.drain_once()
    assert sorted(seen) == [(f"Placed {placed.event_id}", 3), ("Shipped shipped-b", 3)]
