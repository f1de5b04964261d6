"""How the inventory reacts to orders."""

from sqlmodel import col, select

from example_app.inventory.contracts import StockRefused, StockReserved
from example_app.inventory.tables import Reservation, Stock
from example_app.orders.contracts import OrderPlaced, OrderRejected
from fastapi_events import EventPublisher, HandlerSession, Module, Retry

inventory = Module("inventory")


@inventory.on(OrderPlaced, retry=Retry(max_attempts=5), idempotency_key=lambda e: f"reserve-{e.order_id}")
async def reserve_stock(event: OrderPlaced, session: HandlerSession, publish: EventPublisher) -> None:
    """Effects, child event and acknowledgement commit together: effectively once, even under ``kill -9``."""
    stock = await session.get(Stock, event.sku, with_for_update=True)
    if stock is None or stock.available < event.quantity:
        await publish(StockRefused(order_id=event.order_id, reason=f"{event.sku} is sold out"))
        return
    stock.available -= event.quantity
    session.add(Reservation(order_id=event.order_id, sku=event.sku, quantity=event.quantity))
    await publish(
        StockReserved(
            order_id=event.order_id,
            sku=event.sku,
            quantity=event.quantity,
            total_cents=event.quantity * stock.unit_cents,
        )
    )


@inventory.on(OrderRejected)
async def release_stock(event: OrderRejected, session: HandlerSession) -> None:
    """Put back what had been reserved; nothing, if the order was rejected for want of goods."""
    mine = select(Reservation).where(Reservation.order_id == event.order_id, ~col(Reservation.released))
    for reservation in await session.scalars(mine):
        stock = await session.get_one(Stock, reservation.sku, with_for_update=True)
        stock.available += reservation.quantity
        reservation.released = True
