"""What type checkers must refuse: each line marked so, and no other."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import DeclarativeBase

from fastapi_events import Actor, Breaker, Event, EventPublisher, Events, Module, Retry, emits, exponential, tenant


class Placed(Event, name="orders.order.placed"):
    order_id: UUID


class Shipped(Event, name="orders.order.shipped"):
    order_id: UUID


module = Module("orders")


@module.on(Placed)  # wrong
async def other(event: Shipped) -> None: ...


@module.on  # wrong
async def without_brackets(event: Placed) -> None: ...


@module.on(Placed, retry=3)  # wrong
async def counting(event: Placed) -> None: ...


@module.on(Placed, retries=3)  # wrong
async def misspelt(event: Placed) -> None: ...


@module.on(Placed, idempotency_key=lambda event: event.sku)  # wrong
async def missing(event: Placed) -> None: ...


@module.on(Placed, on_dead="stop")  # wrong
async def stopping(event: Placed) -> None: ...


@module.on(Placed, batch=10)  # wrong
async def one_of_many(event: Placed) -> None: ...


@module.on(Placed)  # wrong
async def many_of_one(events: list[Placed]) -> None: ...


@module.on(Placed, batch=10)  # wrong
async def many_others(events: list[Shipped]) -> None: ...


@module.on(Placed, start="yesterday")  # wrong
async def from_yesterday(event: Placed) -> None: ...


@module.on(Placed, batch="10")  # wrong
async def counted_in_words(events: list[Placed]) -> None: ...


@module.on(Placed)  # wrong
@module.on(Shipped)
async def too_narrow(event: Shipped) -> None: ...


@module.on(Placed)  # wrong
async def without_event() -> None: ...


class Base(DeclarativeBase): ...


emits(Base)  # wrong
emits(create=Placed)  # wrong
emits(created="orders.order.placed")  # wrong


class Placed2(Event, name="orders.order.placed", version=2):
    order_ids: list[UUID]


@module.upcast(Placed2, from_version=1)  # wrong
async def waiting(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@module.upcast(Placed2, from_version=1)  # wrong
def listing(payload: dict[str, Any]) -> list[Any]:
    return [payload]


@module.upcast(Placed2, from_version=1)  # wrong
def of_an_event(event: Placed) -> dict[str, Any]:
    return event.model_dump()


@module.upcast(Placed2)  # wrong
def from_no_version(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


module.upcast("orders.order.placed", from_version=1)  # wrong
module.upcast(Placed2, from_verison=1)  # wrong


@module.on(Placed, broadcast="yes")  # wrong
async def broadcasting(event: Placed) -> None: ...


@module.on(Placed, broadcasts=True)  # wrong
async def misspelt_flag(event: Placed) -> None: ...


Placed(order=UUID(int=0))  # wrong
Retry(attempts=3)  # wrong
Retry(max_attempts="3")  # wrong
Breaker(treshold=3)  # wrong
exponential(caps=3)  # wrong
Module("orders", midleware=[])  # wrong
module.on(Placed, Shipped)  # wrong
Events(module=[module])  # wrong
Events(autorize=print)  # wrong
Events(modules=[Placed])  # wrong
Events(modules=module)  # wrong
print(Events().router_that_is_not_there)  # wrong


async def publishing(publish: EventPublisher) -> None:
    await publish("orders.order.placed")  # wrong
    await publish(Placed(order_id=UUID(int=0)), keys="a")  # wrong
    await publish(Placed(order_id=UUID(int=0)), event_id="a")  # wrong
    await publish(Placed(order_id=UUID(int=0)), delay="a")  # wrong
    await publish(Placed(order_id=UUID(int=0)), at=60)  # wrong
    await publish.cancel("a")  # wrong
    await publish(Placed(order_id=UUID(int=0)), also="a")  # wrong
    await publish.many([Placed(order_id=UUID(int=0))], also=Placed(order_id=UUID(int=0)))  # wrong
    await publish.raw("orders.order.placed", {}, also=Placed(order_id=UUID(int=0)))  # wrong
    await publish(Placed(order_id=UUID(int=0)), tenant_id=7)  # wrong


async def of_tenants(events: Events) -> None:
    await events.operations.erase("card", "7", actor="ana")  # wrong
    with tenant(None):  # wrong
        Actor("bob", tenants="acme")  # wrong
