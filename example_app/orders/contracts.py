"""What the orders module tells the others."""

from uuid import UUID

from pydantic import EmailStr, PositiveInt

from fastapi_events import Event


class OrderPlaced(Event, name="orders.order.placed", aggregate="order", aggregate_id="order_id"):
    """A customer has ordered; nothing is reserved or paid yet."""

    order_id: UUID
    sku: str
    quantity: PositiveInt
    email: EmailStr


class OrderConfirmed(Event, name="orders.order.confirmed", aggregate="order", aggregate_id="order_id"):
    """The goods are reserved and paid."""

    order_id: UUID
    sku: str
    quantity: PositiveInt
    email: EmailStr


class OrderRejected(Event, name="orders.order.rejected", aggregate="order", aggregate_id="order_id"):
    """The order will not be fulfilled."""

    order_id: UUID
    email: EmailStr
    reason: str
