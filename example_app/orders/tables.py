"""What the orders module remembers."""

from enum import StrEnum
from uuid import UUID, uuid4

from sqlmodel import Field

from example_app.tables import ShopTable


class OrderStatus(StrEnum):
    """Every order begins as placed and ends as one of the other two."""

    placed = "placed"
    confirmed = "confirmed"
    rejected = "rejected"


class Order(ShopTable, table=True):
    """``reference`` is the customer's own number of the order: sent twice, it is still one order."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    reference: str = Field(unique=True)
    sku: str
    quantity: int
    email: str
    status: OrderStatus = OrderStatus.placed
