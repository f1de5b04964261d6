"""An application with jobs, and runs of every kind: pages about jobs are tried on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from fastapi_events import Event, Events, JobContext, Module, Retry, Secret, Trigger
from fastapi_events.model.context import flowing
from tests.dashboard.ground import client_of
from tests.delivery.stage import Stage

PAGES, API = "/events/dashboard", "/events/api"


class StockLow(Event, name="inventory.stock.low", aggregate_id="sku"):
    """What starts a run by a trigger."""

    sku: str


class Restock(BaseModel):
    """What a run is given."""

    sku: str
    quantity: int = 24
    supplier_key: Annotated[str, Secret] = "sesame-4711"


class Order(BaseModel):
    """What a tree of runs is about."""

    order: str


class Quote(BaseModel):
    """What a step has found out."""

    supplier: str
    cents: int


@dataclass
class Works:
    """The instance with its application, and runs to be found again by what they are."""

    stage: Stage
    events: Events
    app: FastAPI
    jobs: dict[str, Any]
    suppliers: set[str] = field(default_factory=lambda: {"A-1", "B-2"})
    runs: dict[str, UUID] = field(default_factory=dict)
    base: str = ""

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A browser on one of our pages."""
        return client_of(self.app, headers=headers)

    @property
    def connection(self) -> Any:
        return self.stage.connection

    async def state(self, what: str) -> str:
        run = await self.events.observe.run(self.runs[what])
        assert run is not None
        return run.state


def modules(works: Any) -> list[Module]:
    """The jobs; ``works`` says which suppliers there are."""
    inventory, orders, reports = Module("inventory"), Module("orders"), Module("reports")

    async def ask_supplier(sku: str) -> Quote:
        return Quote(supplier="Nordwind", cents=250)

    async def place_order(sku: str, quote: Quote) -> str:
        if sku not in works().suppliers:
            raise LookupError(f"no supplier has {sku}")
        return f"PO-{sku}-{quote.cents}"

    async def confirm(number: str) -> None: ...

    @inventory.job(
        "inventory.restock", retry=Retry(max_attempts=1), scope=lambda given: ("sku", given.sku),
        triggers=[Trigger(StockLow, map=lambda event: Restock(sku=event.sku))],
    )  # fmt: skip
    async def restock(job: JobContext[Restock]) -> str:
        quote = await job.step("quote", ask_supplier, job.input.sku)
        job.log.info("asked the supplier", extra={"cents": quote.cents})
        job.log.warning("the price has risen since last week")
        await job.progress(1, 3)
        number = await job.step("order", place_order, job.input.sku, quote)
        await job.progress(2, 3)
        await job.checkpoint()
        await job.step("confirm", confirm, number)
        return number

    @orders.job("orders.pick", pool="interactive")
    async def pick(job: JobContext[Order]) -> str:
        return job.input.order

    @orders.job("orders.fulfil", pool="interactive", scope=lambda given: ("order", given.order))
    async def fulfil(job: JobContext[Order]) -> None:
        for number in (1, 2):
            await job.spawn(pick, Order(order=f"{job.input.order}-{number}"))
        await job.gather_children()
        await job.signal("paid", str, timeout=3600)

    @reports.every("0 6 * * *", tz="Europe/Berlin")
    @reports.job("reports.nightly", pool="slow")
    async def nightly(job: JobContext[None]) -> None: ...

    works_jobs = {"restock": restock, "fulfil": fulfil, "nightly": nightly}
    works.jobs.update(works_jobs)
    return [inventory, orders, reports]


class _Later:
    """What jobs see of the works, which are put together after them."""

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}
        self.works: Works | None = None

    def __call__(self) -> Works:
        assert self.works is not None
        return self.works


@asynccontextmanager
async def works_on(url: str, authorize: Any = None, **settings: Any) -> AsyncIterator[Works]:
    """Runs that have completed, failed, wait for a signal, for their time, and for a free place."""
    stage, later = Stage(url), _Later()
    events = await stage.idle(*modules(later), **{"development": True, **settings})
    events.authorize = authorize
    app = FastAPI()
    app.include_router(events.router)
    app.state.fastapi_events = events
    works = later.works = Works(stage, events, app, later.jobs)
    await stage.rows("SELECT 1")
    try:
        await fill(works)
        yield works
    finally:
        await stage.close()


async def fill(works: Works) -> None:
    """One run of each kind; ``bad`` is dead, its supplier is missing."""
    jobs, restock = works.events.jobs, works.jobs["restock"]

    async def start(what: str, job: Any, given: Any, **options: Any) -> None:
        works.runs[what] = (await jobs.start(job, given, **options)).run

    with flowing(actor="ada@shop.example"):
        await works.events.publish(StockLow(sku="B-2"))
        await start("good", restock, Restock(sku="A-1"), tags=["nightly"])
        await start("bad", restock, Restock(sku="Z-9"))
    await start("worse", restock, Restock(sku="Y-8"), priority=5)
    await start("tree", works.jobs["fulfil"], Order(order="4711"))
    await works.events.operations.run_schedule_now("reports.nightly", actor="ada@shop.example")
    for _ in range(4):
        await works.events.drain_once()
    await start("later", restock, Restock(sku="A-1"), delay=timedelta(hours=2).total_seconds())
    await start("ready", restock, Restock(sku="A-1"))
    [triggered] = (await works.events.observe.runs("source:event")).runs
    works.runs["triggered"] = triggered.id
