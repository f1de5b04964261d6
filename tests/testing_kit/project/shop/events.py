from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_events import Event, EventPublisher, Events, HandlerSession, Module, Retry, fixed, publisher_on


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class Stock(Base):
    __tablename__ = "stock"
    order_id: Mapped[int] = mapped_column(primary_key=True)


class OrderPlaced(Event, name="orders.order.placed", aggregate_id="order_id"):
    order_id: int


class StockReserved(Event, name="inventory.stock.reserved", aggregate_id="order_id"):
    order_id: int


inventory = Module("inventory")


@inventory.on(OrderPlaced, id="inventory.reserve", retry=Retry(max_attempts=2, backoff=fixed(600)))
async def reserve(event: OrderPlaced, session: HandlerSession, publish: EventPublisher) -> None:
    session.add(Stock(order_id=event.order_id))
    await publish(StockReserved(order_id=event.order_id))


# A server that is not there: no test may come near it.
engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/production")
SessionLocal = async_sessionmaker(engine, expire_on_commit=False)
events = Events(modules=[inventory], sessions=SessionLocal)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with SessionLocal() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
Publisher = Annotated[EventPublisher, Depends(publisher_on(SessionDep))]
app = FastAPI()
app.include_router(events.router)


@app.post("/orders/{order_id}", status_code=201)
async def place_order(order_id: int, session: SessionDep, publish: Publisher) -> None:
    session.add(Order(id=order_id))
    await publish(OrderPlaced(order_id=order_id))
    await session.commit()


async def reserved() -> int:
    async with SessionLocal() as session:
        return await session.scalar(select(func.count()).select_from(Stock)) or 0
