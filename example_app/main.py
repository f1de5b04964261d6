"""The shop's web app.

EVENTS_DEV=1 EVENTS_AUTO_UPGRADE=1 EVENTS_DATABASE_URL=postgresql://… uvicorn example_app.main:app
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from example_app.composition import events
from example_app.db import SessionLocal, create_tables, engine
from example_app.inventory.catalogue import fill_shelves
from example_app.inventory.routes import router as inventory_routes
from example_app.orders.routes import router as orders_routes
from example_app.reports.routes import router as reports_routes


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Open the shop: tables (a real one would migrate with Alembic) and goods."""
    await create_tables()
    async with SessionLocal.begin() as session:
        await fill_shelves(session)
    yield
    await engine.dispose()


app = FastAPI(title="Example shop", lifespan=lifespan)
app.include_router(events.router)  # lifespan, health, JSON API, dashboard
app.include_router(orders_routes)
app.include_router(inventory_routes)
app.include_router(reports_routes)


@app.get("/", tags=["start"])
async def index(request: Request) -> dict[str, str]:
    """Where to go from here."""
    base = str(request.base_url).rstrip("/")
    return {
        "docs": f"{base}{app.docs_url}",
        "dashboard": f"{base}{events.prefix}/dashboard",
        "ready": f"{base}{events.prefix}/health/ready",
    }
