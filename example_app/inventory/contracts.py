"""What the inventory module tells the others; what belongs to an order keeps the order's sequence."""

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


class StockLow(Event, name="inventory.stock.low", aggregate="article", aggregate_id="sku"):
    """So few pieces are left that more should be ordered."""

    sku: str
    left: NonNegativeInt
