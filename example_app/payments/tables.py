"""What the payments module remembers."""

from uuid import UUID, uuid4

from sqlmodel import Field

from example_app.tables import ShopTable


class Payment(ShopTable, table=True):
    """Money received for an order; as with reservations, ``order_id`` is not unique on purpose."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    order_id: UUID = Field(index=True)
    cents: int


class Charge(ShopTable, table=True):
    """The provider's own books, which in a real shop are at the other end of an HTTP request."""

    key: str = Field(primary_key=True)
    cents: int
    calls: int = 0
    captured: bool = False
