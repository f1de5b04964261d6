"""What handlers publish: ids that follow from their cause, and chains that end."""

from typing import Any
from uuid import UUID

from fastapi_events import Delivery, EventPublisher, HandlerSession, Module, Retry, SyncEventPublisher, fixed
from fastapi_events.model.identity import child_event_id
from tests.conformance.backends import Backend, publish
from tests.delivery.stage import Pinged, Placed, Shipped


async def test_children_carry_on_what_their_cause_has(backend: Backend) -> None:
    module, seen = Module("shop"), dict[str, Delivery]()

    @module.on(Placed, id="place")
    async def place(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order))

    @module.on(Shipped, id="ship")
    async def ship(event: Shipped, publish: EventPublisher, session: HandlerSession) -> None:
        await publish(Pinged(number=1))
        await publish(Pinged(number=2), tenant_id="other")

    @module.on("shop.*")
    async def note(event: Any, delivery: Delivery) -> None:
        seen[f"{type(event).__name__} {event.number}"] = delivery

    events = await backend.idle(module)
    root = await events.publish(Placed(order="a"), tenant_id="acme")
    await events.drain_once()
    family = placed, shipped, first, second = [seen[who] for who in ("Placed 0", "Shipped 0", "Pinged 1", "Pinged 2")]
    assert [one.correlation_id for one in family] == [root.event_id] * 4
    assert [one.causation_id for one in family] == [None, placed.event_id, shipped.event_id, shipped.event_id]
    assert [one.tenant_id for one in family] == ["acme", "acme", "acme", "other"]
    assert shipped.event_id == child_event_id(root.event_id, "place", 0)
    assert [first.event_id, second.event_id] == [child_event_id(shipped.event_id, "ship", n) for n in (0, 1)]


async def test_a_second_attempt_publishes_the_same_children(backend: Backend) -> None:
    module, tried, seen = Module("shop"), list[UUID](), list[UUID]()

    @module.on(Placed, retry=Retry(2, backoff=fixed(0)))
    async def flaky(event: Placed, publish: EventPublisher, delivery: Delivery) -> None:
        tried.append((await publish(Shipped(order=event.order))).event_id)
        if delivery.attempt == 1:
            raise RuntimeError("again")

    @module.on(Shipped)
    async def ship(event: Shipped, delivery: Delivery) -> None:
        seen.append(delivery.event_id)

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    assert tried == [seen[0]] * 2
    assert len(seen) == 1


async def test_children_of_a_def_handler_are_published_with_its_success(backend: Backend) -> None:
    module, seen = Module("shop"), list[str]()

    @module.on(Placed)
    def place(event: Placed, publish: SyncEventPublisher) -> None:
        publish(Shipped(order=event.order))

    @module.on(Shipped)
    def ship(event: Shipped) -> None:
        seen.append(event.order)

    events = await backend.idle(module)
    await publish(events, Placed(order="a"), Placed(order="b"))
    await events.drain_once()
    assert sorted(seen) == ["a", "b"]


async def test_a_chain_of_events_that_cause_each_other_ends(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Pinged)
    async def again(event: Pinged, publish: EventPublisher) -> None:
        seen.append(event.number)
        await publish(Pinged(number=event.number + 1))

    events = await backend.idle(module, cascade_depth=3)
    await publish(events, Pinged(number=0))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, seen) == ("cascade_limit", [0, 1, 2, 3])
