"""How the inventory reacts to orders, and sees to it that there is something to sell."""

from uuid import UUID

from pydantic import BaseModel
from sqlmodel import col, select

from example_app.inventory.catalogue import LOW
from example_app.inventory.contracts import StockLow, StockRefused, StockReserved
from example_app.inventory.supplier import GoodsOrdered, fetch_quote, place_supplier_order
from example_app.inventory.tables import Receipt, Reservation, Stock
from example_app.orders.contracts import OrderPlaced, OrderRejected
from example_app.settings import settings
from fastapi_events import Concurrency, EventPublisher, HandlerSession, JobContext, Module, Retry, Trigger

inventory = Module("inventory")


@inventory.on(OrderPlaced, retry=Retry(max_attempts=5), idempotency_key=lambda e: f"reserve-{e.order_id}")
async def reserve_stock(event: OrderPlaced, session: HandlerSession, publish: EventPublisher) -> None:
    """Effects, child event and acknowledgement commit together: effectively once, even under ``kill -9``."""
    stock = await session.get(Stock, event.sku, with_for_update=True)
    if stock is None or stock.available < event.quantity:
        await publish(StockRefused(order_id=event.order_id, reason=f"{event.sku} is sold out"))
        return
    stock.available -= event.quantity
    session.add(Reservation(order_id=event.order_id, sku=event.sku, quantity=event.quantity))
    await publish(
        StockReserved(
            order_id=event.order_id,
            sku=event.sku,
            quantity=event.quantity,
            total_cents=event.quantity * stock.unit_cents,
        )
    )
    if stock.available < LOW <= stock.available + event.quantity:
        await publish(StockLow(sku=stock.sku, left=stock.available))


@inventory.on(OrderRejected)
async def release_stock(event: OrderRejected, session: HandlerSession) -> None:
    """Put back what had been reserved; nothing, if the order was rejected for want of goods."""
    mine = select(Reservation).where(Reservation.order_id == event.order_id, ~col(Reservation.released))
    for reservation in await session.scalars(mine):
        stock = await session.get_one(Stock, reservation.sku, with_for_update=True)
        stock.available += reservation.quantity
        reservation.released = True


class Restock(BaseModel):
    """An article of which more is to be ordered."""

    sku: str


class RestockResult(BaseModel):
    """The supplier's order, whose goods are on the shelf now."""

    order_id: UUID


@inventory.job(
    "inventory.restock",
    pool="batch",
    triggers=[Trigger(StockLow, map=lambda e: Restock(sku=e.sku))],
    concurrency=Concurrency(key=lambda j: j.sku, on_collision="queue"),
)
async def restock(job: JobContext[Restock]) -> RestockResult:
    """Order more, wait for it, put it on the shelf.

    Killed anywhere, it goes on behind the last step that is done. One run at a time for each article: a second one
    waits for its turn.
    """
    quote = await job.step("quote", fetch_quote, job.input.sku, retry=Retry(max_attempts=5))
    order = await job.step("order", place_supplier_order, quote, retry=Retry(max_attempts=5))
    await job.sleep(settings.delivery_seconds)  # holds neither a place in the pool nor a connection
    await job.step("shelve", put_on_shelf, order, job.run.id)
    return RestockResult(order_id=order.id)


async def put_on_shelf(order: GoodsOrdered, run_id: UUID, session: HandlerSession) -> int:
    """Goods, receipt and the step's result commit together: exactly once."""
    stock = await session.get_one(Stock, order.sku, with_for_update=True)
    stock.received += order.pieces
    stock.available += order.pieces
    session.add(Receipt(run_id=run_id, supplier_order_id=order.id, sku=order.sku, pieces=order.pieces))
    return stock.available
