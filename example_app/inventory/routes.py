"""The API of the inventory module."""

from fastapi import APIRouter, HTTPException

from example_app.dependencies import SessionDep
from example_app.inventory.tables import Stock

router = APIRouter(tags=["inventory"])


@router.get("/stock/{sku}")
async def get_stock(sku: str, session: SessionDep) -> Stock:
    """Show an article: its price in cents and how many pieces are free."""
    stock = await session.get(Stock, sku)
    if stock is None:
        raise HTTPException(404, f"There is no article {sku!r}.")
    return stock
