"""What the inventory module remembers."""

from uuid import UUID, uuid4

from sqlmodel import Field

from example_app.tables import ShopTable


class Stock(ShopTable, table=True):
    """One article: ``received`` pieces in all its time, of which ``available`` are free to be reserved."""

    sku: str = Field(primary_key=True)
    unit_cents: int
    received: int
    available: int


class Reservation(ShopTable, table=True):
    """Goods set aside for an order.

    ``order_id`` is not unique on purpose: were an event ever handled twice, the rows would show it.
    """

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    order_id: UUID = Field(index=True)
    sku: str
    quantity: int
    released: bool = False


class Receipt(ShopTable, table=True):
    """Goods that a supplier has delivered for a restocking run; again, nothing is unique on purpose."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    run_id: UUID = Field(index=True)
    supplier_order_id: UUID
    sku: str
    pieces: int
