"""How orders react to what the other modules report."""

from uuid import UUID

from example_app.inventory.contracts import StockRefused
from example_app.orders.contracts import OrderConfirmed, OrderRejected
from example_app.orders.tables import Order, OrderStatus
from example_app.payments.contracts import PaymentCaptured, PaymentDeclined
from fastapi_events import EventPublisher, HandlerSession, Module

orders = Module("orders")


@orders.on(PaymentCaptured)
async def confirm_order(event: PaymentCaptured, session: HandlerSession, publish: EventPublisher) -> None:
    """New status, child event and acknowledgement commit together."""
    order = await session.get_one(Order, event.order_id)
    order.status = OrderStatus.confirmed
    await publish(OrderConfirmed(order_id=order.id, sku=order.sku, quantity=order.quantity, email=order.email))


@orders.on(StockRefused)
async def reject_unavailable(event: StockRefused, session: HandlerSession, publish: EventPublisher) -> None:
    """The goods cannot be had."""
    await _reject(event.order_id, event.reason, session, publish)


@orders.on(PaymentDeclined)
async def reject_unpaid(event: PaymentDeclined, session: HandlerSession, publish: EventPublisher) -> None:
    """The money cannot be had; the inventory, told of the rejection, puts the goods back."""
    await _reject(event.order_id, event.reason, session, publish)


async def _reject(order_id: UUID, reason: str, session: HandlerSession, publish: EventPublisher) -> None:
    order = await session.get_one(Order, order_id)
    order.status = OrderStatus.rejected
    await publish(OrderRejected(order_id=order.id, email=order.email, reason=reason))
