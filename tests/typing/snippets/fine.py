"""What users write and type checkers must accept."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events import (
    Delivery,
    Event,
    EventPublisher,
    Events,
    HandlerSession,
    Module,
    Publisher,
    Retry,
    SessionDep,
    exponential,
    publisher_on,
)


class OrderPlaced(Event, name="orders.order.placed", aggregate="order", aggregate_id="order_id", retry=Retry(5)):
    order_id: UUID
    sku: str


async def get_session() -> AsyncIterator[AsyncSession]:
    raise NotImplementedError
    yield


OwnSession = Annotated[AsyncSession, Depends(get_session)]
OwnPublisher = Annotated[EventPublisher, Depends(publisher_on(OwnSession))]

inventory = Module("inventory")


@inventory.on(
    OrderPlaced, retry=Retry(max_attempts=5, backoff=exponential(1)), idempotency_key=lambda e: f"r-{e.order_id}"
)
async def reserve(event: OrderPlaced, session: HandlerSession, delivery: Delivery) -> None:
    sku: str = event.sku
    attempt: int = delivery.attempt
    print(sku, attempt, session)


@inventory.on("orders.*")
def watch(event: object) -> None: ...


events = Events(modules=[inventory])
app = FastAPI()
app.include_router(events.router)


@app.post("/orders")
async def place(order_id: UUID, session: OwnSession, publish: OwnPublisher) -> UUID:
    published = await publish(OrderPlaced(order_id=order_id, sku="a"))
    await session.commit()
    return published.event_id


@app.post("/own")
async def own(order_id: UUID, session: SessionDep, publish: Publisher) -> bool:
    published = await publish(OrderPlaced(order_id=order_id, sku="a"), key="k", tenant_id="t")
    await session.commit()
    return published.duplicate


async def main() -> None:
    await events.publish(OrderPlaced(order_id=UUID(int=0), sku="a"), event_id=UUID(int=1))
