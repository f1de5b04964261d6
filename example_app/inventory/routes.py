"""The API of the inventory module."""

from uuid import UUID

from fastapi import APIRouter, HTTPException

from example_app.dependencies import Jobs, SessionDep
from example_app.inventory.module import Restock, restock
from example_app.inventory.tables import Stock

router = APIRouter(tags=["inventory"])


@router.get("/stock/{sku}")
async def get_stock(sku: str, session: SessionDep) -> Stock:
    """Show an article: its price in cents and how many pieces are free."""
    stock = await session.get(Stock, sku)
    if stock is None:
        raise HTTPException(404, f"There is no article {sku!r}.")
    return stock


@router.post("/stock/{sku}/restocks", status_code=202)
async def restock_now(sku: str, session: SessionDep, jobs: Jobs) -> UUID:
    """Order more of an article, low or not; returns the run that does."""
    if await session.get(Stock, sku) is None:
        raise HTTPException(404, f"There is no article {sku!r}.")
    started = await jobs.start(restock, Restock(sku=sku))
    await session.commit()  # only now is the run there
    return started.run
