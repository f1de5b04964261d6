"""What type checkers must refuse: each line marked so, and no other."""

from uuid import UUID

from fastapi_events import Event, EventPublisher, Events, Module, Retry

# Not here: misspelt keywords of an event's class. Both checkers leave the keywords of classes with a metaclass of their
# own alone, and a pydantic model is one; they are refused at import, see tests/model.


class Placed(Event, name="orders.order.placed"):
    order_id: UUID


class Shipped(Event, name="orders.order.shipped"):
    order_id: UUID


module = Module("orders")


@module.on(Placed)  # wrong
async def other(event: Shipped) -> None: ...


@module.on(Placed, retries=3)  # wrong
async def misspelt(event: Placed) -> None: ...


@module.on(Placed, idempotency_key=lambda event: event.sku)  # wrong
async def missing(event: Placed) -> None: ...


@module.on(Placed, on_dead="stop")  # wrong
async def stopping(event: Placed) -> None: ...


Retry(attempts=3)  # wrong
Events(module=[module])  # wrong
Events(modules=[Placed])  # wrong


async def publishing(publish: EventPublisher) -> None:
    await publish("orders.order.placed")  # wrong
    await publish(Placed(order_id=UUID(int=0)), keys="a")  # wrong
    await publish(Placed(order_id=UUID(int=0)), event_id="a")  # wrong
