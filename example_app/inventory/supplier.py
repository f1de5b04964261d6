"""A supplier to practise on, which in a real shop is at the other end of an HTTP request."""

from uuid import UUID, uuid4

from pydantic import BaseModel, PositiveInt
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, select

from example_app.db import SessionLocal
from example_app.tables import ShopTable

LOT = 25
"""Pieces that the supplier delivers at once."""


class Quote(BaseModel):
    """What the supplier offers; whoever accepts it names its number, and may do so twice."""

    number: UUID
    sku: str
    pieces: PositiveInt


class GoodsOrdered(BaseModel):
    """What the supplier will deliver."""

    id: UUID
    sku: str
    pieces: PositiveInt


class SupplierOrder(ShopTable, table=True):
    """The supplier's own books: one row for each quote that was accepted."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    quote: UUID = Field(unique=True)
    sku: str
    pieces: int


async def fetch_quote(sku: str) -> Quote:
    """Ask for an offer."""
    return Quote(number=uuid4(), sku=sku, pieces=LOT)


async def place_supplier_order(quote: Quote) -> GoodsOrdered:
    """Accept an offer; the same one again is the same order."""
    order = {"id": uuid4(), "quote": quote.number, "sku": quote.sku, "pieces": quote.pieces}
    async with SessionLocal.begin() as books:
        await books.execute(insert(SupplierOrder).values(order).on_conflict_do_nothing())
        placed = (await books.scalars(select(SupplierOrder).where(SupplierOrder.quote == quote.number))).one()
        return GoodsOrdered(id=placed.id, sku=placed.sku, pieces=placed.pieces)
