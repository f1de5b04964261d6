"""What users write and type checkers must accept."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, assert_type
from uuid import UUID

from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlmodel import Field, SQLModel

from fastapi_events import (
    Actor,
    Delivery,
    EmitsEvents,
    Event,
    EventPublisher,
    Events,
    HandlerSession,
    Module,
    Publisher,
    RawEvent,
    Retry,
    Secret,
    SessionDep,
    SyncEventPublisher,
    SyncPublisher,
    SyncSessionDep,
    emits,
    exponential,
    publisher_on,
    tenant,
    tenant_from,
    without_events,
)


class OrderPlaced(Event, name="orders.order.placed", aggregate="order", aggregate_id="order_id", retry=Retry(5)):
    order_id: UUID
    sku: str


class OrderPaid(Event, name="orders.order.paid", aggregate_id="order_id"):
    order_id: UUID


class OrderSent(Event, name="orders.order.sent", aggregate_id="order_id"):
    order_id: UUID


class OrderCreated(Event, name="orders.order.created"):
    id: int


class OrderDeleted(Event, name="orders.order.deleted"):
    id: int


class Order(EmitsEvents, SQLModel, table=True, emits=(OrderCreated, OrderDeleted)):
    id: int | None = Field(default=None, primary_key=True)
    sku: str


class Return(
    EmitsEvents, SQLModel, table=True, emits=emits(created=OrderSent, map=lambda each: {"order_id": each.key})
):
    id: int | None = Field(default=None, primary_key=True)
    key: UUID


class Base(DeclarativeBase):
    pass


@emits(OrderCreated, deleted=OrderDeleted, ignore=["sku"])
class Archived(Base):
    __tablename__ = "archived"
    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str]


def tables(session: Session) -> None:
    with without_events():
        session.add(Order(sku="a"))
    assert_type(Order(sku="a").sku, str)
    assert_type(Archived().sku, str)


class OrderPlaced2(Event, name="orders.order.placed", version=2, oldest_version=1):
    order_id: UUID
    skus: list[str]


def tariff() -> int:
    return 3


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


@inventory.on(OrderPlaced, id="inventory.note_placed")
@inventory.on(OrderPaid, id="inventory.note_paid", idempotency_key=lambda e: f"p-{e.order_id}")
async def note(
    event: OrderPlaced | OrderPaid, session: HandlerSession, cents: Annotated[int, Depends(tariff)], more: int = 1
) -> str:
    return f"{event.order_id} {cents} {more} {session}"


@inventory.on(OrderPlaced, id="inventory.count_placed")
@inventory.on(OrderPaid, id="inventory.count_paid")
@inventory.on(OrderSent, id="inventory.count_sent")
@inventory.on("billing.*", id="inventory.count_billing")
def count(event: OrderPlaced | OrderPaid | OrderSent | RawEvent) -> None: ...


@inventory.on("orders.*", id="inventory.keep")
def keep(event: Event | RawEvent, amount: int = Depends(tariff)) -> int:
    return amount


@inventory.upcast(OrderPlaced2, from_version=1)
def several(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "skus": [payload["sku"]]}


inventory.upcast(OrderPlaced2, from_version=1)(dict)
assert_type(several({}), dict[str, Any])


@inventory.on(OrderSent)
def archive(event: Event) -> None: ...


class LoginFailed(Event, name="auth.login.failed", tier="audit"):
    user: str


@inventory.on(OrderPlaced, batch=500, retry=Retry(3), idempotency_key=lambda e: f"p-{e.order_id}")
async def project(events: list[OrderPlaced], session: HandlerSession, deliveries: list[Delivery]) -> None: ...


@inventory.on(OrderPlaced, batch=500, id="inventory.sequence")
async def project_sequence(events: Sequence[OrderPlaced]) -> None: ...


@inventory.on(OrderPlaced, batch=500, id="inventory.both_placed")
@inventory.on(OrderPaid, batch=500, id="inventory.both_paid")
async def project_both(events: list[OrderPlaced | OrderPaid]) -> None: ...


@inventory.on("orders.*", batch=500)
async def project_all(events: list[Event | RawEvent]) -> None: ...


@inventory.on(OrderPlaced, id="inventory.from_the_beginning", start="beginning")
@inventory.on(OrderPlaced, id="inventory.since", start=datetime(2026, 1, 31, tzinfo=UTC))
async def from_then_on(event: OrderPlaced) -> None: ...


@inventory.on(OrderPlaced, id="inventory.listed", start=1200, batch=10)
async def listed_from_then_on(events: list[OrderPlaced]) -> None: ...


@inventory.on("orders.*", id="inventory.all", start="beginning")
async def all_from_the_beginning(event: Event | RawEvent) -> None: ...


async def called_with_lists(placed: OrderPlaced, session: HandlerSession) -> None:
    await project([placed], session, [])
    await project_sequence([placed])
    await project_both([placed])


@inventory.on(LoginFailed, broadcast=True, ordered=False, timeout=3)
async def forget(event: LoginFailed, publish: EventPublisher) -> None: ...


@inventory.on("auth.*", broadcast=True, audit=True)
async def watch_logins(event: Event | RawEvent) -> None: ...


async def by_hand(session: HandlerSession) -> None:
    """A declared function is still the function it was."""
    placed = OrderPlaced(order_id=UUID(int=0), sku="a")
    assert_type(await note(placed, session, 3), str)
    assert_type(await note(OrderPaid(order_id=UUID(int=0)), session, cents=3, more=2), str)
    assert_type(keep(event=placed, amount=3), int)
    count(OrderSent(order_id=UUID(int=0)))


events = Events(modules=[inventory], sync_sessions=Session)
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


@app.post("/later")
async def later(order_id: UUID, session: SessionDep, publish: Publisher) -> bool:
    first = await publish(OrderPaid(order_id=order_id), delay=timedelta(days=1))
    await publish.many([OrderPaid(order_id=order_id)], at=datetime.now(UTC))
    await publish.raw("orders.order.paid", {}, delay=1.5)
    assert_type(first.scheduled, bool)
    cancelled = await publish.cancel(first.event_id)
    await session.commit()
    return cancelled


@app.post("/def")
def in_a_thread(order_id: UUID, session: SyncSessionDep, publish: SyncPublisher) -> bool:
    session.info["order"] = order_id
    published = publish(OrderPlaced(order_id=order_id, sku="a"), delay=60)
    assert_type(publish.cancel(published.event_id), bool)
    session.commit()
    return published.duplicate


async def main() -> None:
    await events.publish(OrderPlaced(order_id=UUID(int=0), sku="a"), event_id=UUID(int=1))


async def both(publish: EventPublisher, publish_plainly: SyncEventPublisher) -> None:
    now, before = OrderPlaced2(order_id=UUID(int=0), skus=["a"]), OrderPlaced(order_id=UUID(int=0), sku="a")
    await publish(now, also=before, tenant_id="t")
    await publish(now, also=[before])
    publish_plainly(now, also=(before,))


class Paid(Event, name="pay.card.paid"):
    iban: Annotated[str, Secret]


async def tenant_of_request() -> str | None:
    return "acme"


tenant_app = FastAPI(dependencies=[Depends(tenant_from(tenant_of_request))])
staff = Actor("ana", "Ana", frozenset(), tenants=None)
customer = Actor("bob", tenants=frozenset({"acme"}))


async def of_tenants(events: Events, publish: EventPublisher) -> None:
    with tenant("acme") as whose:
        assert_type(whose, str)
        await publish(Paid(iban="DE00"))
    await publish(Paid(iban="DE00"), tenant_id=None)
    await events.observe.within("acme", "nordwind").events()
    await events.operations.within("acme").redrive([], actor="ana")
    ahead = await events.operations.preview_erase("card", UUID(int=0))
    done = await events.operations.erase("card", 7, tenant_id=None, actor="ana", reason="request 12")
    assert_type(ahead.events + done.found, int)
