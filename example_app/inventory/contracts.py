"""What the inventory module tells the others; the events belong to an order, so they keep the order's sequence."""

from uuid import UUID

from pydantic import NonNegativeInt, PositiveInt

from fastapi_events import Event


class StockReserved(Event, name="inventory.stock.reserved", aggregate="order", aggregate_id="order_id"):
    """Goods are set aside for an order, at this price."""

    order_id: UUID
    sku: str
    quantity: PositiveInt
    total_cents: NonNegativeInt


class StockRefused(Event, name="inventory.stock.refused", aggregate="order", aggregate_id="order_id"):
    """The goods cannot be had."""

    order_id: UUID
    reason: str
