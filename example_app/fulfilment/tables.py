"""What the fulfilment module remembers."""

from uuid import UUID, uuid4

from sqlmodel import Field

from example_app.tables import ShopTable


class Parcel(ShopTable, table=True):
    """One packed parcel; as with reservations, nothing is unique on purpose."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    order_id: UUID = Field(index=True)
    sku: str
    pieces: int


class Shipment(ShopTable, table=True):
    """The parcels of an order, handed to the carrier."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    order_id: UUID = Field(index=True)
    parcels: int
