"""The articles that the shop begins with."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.inventory.tables import Stock

ARTICLES = {"CHAIR": (8_900, 100_000), "DESK": (24_500, 100_000), "LAMP": (3_900, 100_000), "VASE": (12_000, 25)}
"""Unit price in cents and pieces on the shelf; vases run low soon, and are ordered anew."""
LOW = 15
"""With fewer pieces on the shelf, more are ordered."""


async def fill_shelves(session: AsyncSession) -> None:
    """Enter every article that is not there yet."""
    articles = [
        {"sku": sku, "unit_cents": unit_cents, "received": pieces, "available": pieces}
        for sku, (unit_cents, pieces) in ARTICLES.items()
    ]
    await session.execute(insert(Stock).values(articles).on_conflict_do_nothing())
