"""Who is called for an event, with what, and in which order."""

import asyncio

import pytest
from fastapi import Depends

from fastapi_events import Delivery, EventPublisher, HandlerSession, Middleware, Module
from fastapi_events.model.middleware import HandleContext
from tests.conformance.backends import Backend, effect, publish
from tests.delivery.stage import Pinged, Placed, Shipped


async def test_every_handler_of_an_event_is_called_once(backend: Backend) -> None:
    orders, mail, seen = Module("orders"), Module("mail"), list[str]()

    @orders.on(Placed)
    async def first(event: Placed) -> None:
        seen.append("first")

    @mail.on(Placed)
    def second(event: Placed) -> None:
        seen.append("second")

    @mail.on("shop.order.*")
    async def third(event: object) -> None:
        seen.append("third")

    @mail.on(Shipped)
    async def other(event: Shipped) -> None:
        seen.append("other")

    events = await backend.idle(orders, mail)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    await events.drain_once()
    assert sorted(seen) == ["first", "second", "third"]


async def test_events_of_one_key_are_handled_in_their_order(backend: Backend) -> None:
    module, seen = Module("shop"), list[tuple[str, int]]()

    @module.on(Placed)
    async def note(event: Placed) -> None:
        seen.append((event.order, event.number))

    events = await backend.idle(module)
    wanted = [(order, number) for number in range(20) for order in "abc"]
    await publish(events, *(Placed(order=order, number=number) for order, number in wanted))
    await events.drain_once()
    assert {key: [n for order, n in seen if order == key] for key in "abc"} == {key: list(range(20)) for key in "abc"}


async def test_drain_once_tells_how_many_events_it_handled(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def note(event: Placed) -> None: ...

    events = await backend.idle(module)
    await publish(events, Placed(order="a"), Placed(order="b"), Pinged())
    assert await events.drain_once() == 3
    assert await events.drain_once() == 0


async def test_a_handler_is_given_what_it_asks_for(backend: Backend) -> None:
    module, seen = Module("shop"), list[object]()

    async def greeting() -> str:
        return "hello"

    @module.on(Placed)
    async def curious(
        event: Placed, delivery: Delivery, publish: EventPublisher, session: HandlerSession,
        word: str = Depends(greeting),
    ) -> None:  # fmt: skip
        seen.extend([event.number, word, delivery.event_id, delivery.attempt, delivery.redelivered, delivery.tenant_id])
        seen.extend([delivery.headers["colour"], delivery.correlation_id == delivery.event_id])

    events = await backend.idle(module)
    published = await events.publish(Placed(order="a", number=7), tenant_id="acme", headers={"colour": "red"})
    await events.drain_once()
    assert seen == [7, "hello", published.event_id, 1, False, "acme", "red", True]


async def test_effects_and_events_of_a_session_commit_together(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def reserve(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await effect(session, "reserve", event.number)
        await publish(Shipped(order=event.order, number=event.number))
        if event.number == 2:
            raise RuntimeError("no stock")

    @module.on(Shipped)
    async def ship(event: Shipped, session: HandlerSession) -> None:
        await effect(session, "ship", event.number * 10)

    events = await backend.idle(module, max_attempts=1)
    await publish(events, Placed(order="a", number=1), Placed(order="b", number=2), Placed(order="c", number=3))
    await events.drain_once()
    assert await backend.effects(events) == [("reserve", 1), ("reserve", 3), ("ship", 10), ("ship", 30)]


async def test_a_handlers_session_is_the_librarys_to_end(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def hasty(event: Placed, session: HandlerSession) -> None:
        await effect(session, "hasty", 1)
        await session.commit()

    events = await backend.idle(module, max_attempts=1)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert str(dead.error_type).endswith("HandlerSessionMisuse")
    assert await backend.effects(events) == []


async def test_savepoints_of_a_handler_are_free(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def careful(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await effect(session, "kept", 1)
        with pytest.raises(ValueError, match="never mind"):
            async with session.begin_nested():
                await effect(session, "dropped", 2)
                await publish(Shipped(order=event.order, number=2))
                raise ValueError("never mind")
        await publish(Shipped(order=event.order, number=3))

    @module.on(Shipped)
    async def ship(event: Shipped, session: HandlerSession) -> None:
        await effect(session, "shipped", event.number)

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    assert await backend.effects(events) == [("kept", 1), ("shipped", 3)]


async def test_one_idempotency_key_is_handled_once(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, idempotency_key=lambda event: event.order)
    async def plain(event: Placed) -> None:
        seen.append(event.number)

    @module.on(Placed, idempotency_key=lambda event: event.order)
    async def with_session(event: Placed, session: HandlerSession) -> None:
        await effect(session, "with_session", event.number)

    events = await backend.idle(module)
    await publish(events, Placed(order="a", number=1), Placed(order="b", number=2))
    await events.drain_once()
    await publish(events, Placed(order="a", number=3))
    await events.drain_once()
    assert sorted(seen) == [1, 2]
    assert await backend.effects(events) == [("with_session", 1), ("with_session", 2)]


async def test_middleware_is_around_every_call(backend: Backend) -> None:
    seen = list[str]()

    class Noting(Middleware):
        async def handle(self, context: HandleContext, call_next: object) -> None:
            seen.append(f"before {context.attempt}")
            await call_next(context)  # type: ignore[operator]  # as users write it, without its long type
            seen.append("after")

    module = Module("shop", middleware=[Noting()])

    @module.on(Placed)
    async def flaky(event: Placed, delivery: Delivery) -> None:
        seen.append("call")
        if delivery.attempt == 1:
            raise RuntimeError("again")

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    assert seen == ["before 1", "call", "before 2", "call", "after"]


async def test_a_handler_has_its_time_and_no_more(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed, timeout=0.05)
    async def endless(event: Placed) -> None:
        await asyncio.Event().wait()

    events = await backend.idle(module, max_attempts=1)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, dead.error_type) == ("timed_out", "TimeoutError")


async def test_broadcast_handlers_hear_of_what_is_committed(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, broadcast=True)
    async def hear(event: Placed) -> None:
        seen.append(event.number)
        if event.number == 2:
            raise RuntimeError("never told again")

    events = await backend.idle(module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2, 3)))
    await events.drain_once()
    await events.drain_once()
    assert seen == [1, 2, 3]
    assert (await events.observe.dead_letters()).matching == 0


@pytest.mark.postgres
async def test_processes_share_the_work(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed)
    async def note(event: Placed) -> None:
        seen.append(event.number)

    first, second = await backend.idle(module), await backend.idle(module)
    await publish(first, *(Placed(order=str(number), number=number) for number in range(20)))
    await second.drain_once()
    await first.drain_once()
    assert sorted(seen) == list(range(20))


@pytest.mark.postgres
async def test_a_paused_handler_waits(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, id="note")
    async def note(event: Placed) -> None:
        seen.append(event.number)

    events = await backend.idle(module)
    await events.operations.pause(handler="note", actor="test")
    await publish(events, Placed(order="a", number=1))
    await events.runtime.refresh_plan()
    await events.drain_once()
    assert seen == []


async def test_a_batch_handler_is_given_lists_of_all_events_in_order(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, batch=10)
    async def project(events: list[Placed], deliveries: list[Delivery]) -> None:
        assert isinstance(events, list)
        assert len(deliveries) == len(events)
        seen.extend(event.number for event in events)

    events = await backend.idle(module)
    await publish(events, *(Placed(order="a", number=number) for number in range(5)))
    await events.drain_once()
    await events.drain_once()
    assert seen == [0, 1, 2, 3, 4]


async def test_a_handler_that_starts_at_the_beginning_is_given_everything_once(backend: Backend) -> None:
    orders, seen = Module("orders"), list[int]()

    @orders.on(Placed, start="beginning")
    async def note(event: Placed) -> None:
        seen.append(event.number)

    events = await backend.idle(orders)
    await publish(events, *(Placed(order="a", number=number) for number in range(3)))
    await events.drain_once()
    await events.drain_once()
    assert seen == [0, 1, 2]
