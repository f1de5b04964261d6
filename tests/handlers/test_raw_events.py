"""A handler of a name or wildcard that asks for ``RawEvent`` gets one for every event, known class or not."""

from typing import Annotated, Any

from fastapi_events import Event, Events, Module, RawEvent, Retry, fixed
from tests.delivery.stage import Placed, Shipped, Stage

RAW: list[Any] = []
TYPED: list[Any] = []


class Audit:
    async def __call__(self, event: Annotated[RawEvent, "as stored"]) -> None:
        RAW.append(event)


def module() -> Module:
    RAW.clear()
    TYPED.clear()
    module = Module("shop")

    @module.on("shop.*")
    async def raw(event: RawEvent) -> None:
        RAW.append(event)

    @module.on("shop.order.placed", idempotency_key=lambda event: f"{event.name}-{event.payload['order']}")
    async def by_name(event: RawEvent) -> None:
        RAW.append(event)

    module.on("shop.*", id="shop.audit")(Audit())

    @module.on("shop.*")
    async def either(event: Event | RawEvent) -> None:
        TYPED.append(event)

    @module.on("shop.*")
    async def untyped(event: Any) -> None:
        TYPED.append(event)

    @module.on(Placed)
    async def placed(event: Placed) -> None:
        TYPED.append(event)

    return module


async def test_raw_where_it_is_asked_for_and_the_class_elsewhere(stage: Stage) -> None:
    events = await stage.idle(module())
    await events.publish(Placed(order="a", number=3))
    await events.drain_once()
    assert [RawEvent("shop.order.placed", 1, {"order": "a", "number": 3})] * 3 == RAW
    assert [Placed(order="a", number=3)] * 3 == TYPED
    assert await stage.deliveries() == []


async def test_a_raw_event_reads_what_the_class_of_this_process_refuses(stage: Stage) -> None:
    events = await stage.idle(module())
    async with events.session() as session:
        await events.publisher(session).raw("shop.order.placed", {"order": "a", "number": "many"})
        await session.commit()
    await events.drain_once()
    assert [RawEvent("shop.order.placed", 1, {"order": "a", "number": "many"})] * 3 == RAW
    assert TYPED == []
    assert {row["handler"] for row in await stage.deliveries("dead")} == {"shop.either", "shop.untyped", "shop.placed"}


async def test_a_second_attempt_is_raw_too(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on("shop.*", retry=Retry(max_attempts=2, backoff=fixed(0)))
    async def raw(event: RawEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise ValueError("not yet")

    events: Events = await stage.idle(module)
    await events.publish(Shipped(order="a"))
    await events.drain_once()
    await stage.make_due()
    await events.drain_once()
    assert [RawEvent("shop.order.shipped", 1, {"order": "a", "number": 0})] * 2 == seen
