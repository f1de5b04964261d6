"""A slow attempt makes way as soon as others wait: the inline budget is for when nobody does."""

import asyncio
from typing import Any

import pytest

from fastapi_events import HandlerSession, Module
from fastapi_events.engine.usher import REST, REST_OF_FOLLOWERS, Usher
from tests.delivery.stage import Pinged, Placed, Stage, effect, publish, until, within

WAY: dict[str, Any] = {"contended_budget": 0.02, "inline_budget": 600.0}


class Slow:
    """Handlers of ``Pinged``, which wait for events below ``number`` until they are let go, and of ``Placed``."""

    def __init__(self, number: int = 1) -> None:
        self.number, self.go, self.begun, self.done = number, asyncio.Event(), list[int](), list[int]()
        self.placed: list[tuple[str, int]] = []
        self.module = Module("shop")
        self.module.on(Pinged, id="shop.slow")(self.slow)
        self.module.on(Placed, id="shop.fast")(self.fast)

    async def slow(self, event: Pinged) -> None:
        self.begun.append(event.number)
        if event.number < self.number:
            await self.go.wait()
        self.done.append(event.number)

    async def fast(self, event: Placed) -> None:
        self.placed.append((event.order, event.number))


async def test_an_event_that_comes_while_a_handler_is_slow_does_not_wait_for_it(stage: Stage) -> None:
    slow = Slow()
    events = await stage.running(slow.module, **WAY)
    await events.publish(Pinged())
    await until(lambda: slow.begun)
    await events.publish(Placed(order="a"))
    await until(lambda: slow.placed == [("a", 0)])
    assert slow.done == []
    slow.go.set()
    await until(lambda: stage.value("SELECT state = 'done' AND attempts = 1 FROM events.delivery"))
    assert slow.begun == [0]


async def test_events_of_the_next_batch_do_not_wait_for_a_slow_handler(stage: Stage) -> None:
    slow = Slow()
    events = await stage.idle(slow.module, batch_size=4, notify="off", **WAY)
    await publish(events, [Pinged(), *(Placed(order=str(number)) for number in range(40))])
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: len(slow.placed) == 40)
    assert slow.done == []
    slow.go.set()
    await within(draining)
    assert (slow.begun, slow.done) == ([0], [0])


async def test_what_follows_of_its_key_waits_and_comes_in_order(stage: Stage) -> None:
    module, go, seen, fast = Module("shop"), asyncio.Event(), list[int](), list[int]()

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        if event.number == 0:
            await go.wait()
        seen.append(event.number)

    @module.on(Pinged)
    async def quick(event: Pinged) -> None:
        fast.append(event.number)

    events = await stage.running(module, **WAY)
    await publish(events, [Placed(order="a", number=number) for number in range(30)])
    await events.publish(Pinged())
    await until(lambda: fast)
    assert seen == []
    go.set()
    await until(lambda: len(seen) == 30)
    assert seen == list(range(30))


async def test_many_attempts_of_one_key_hold_up_the_others_no_longer_than_one(stage: Stage) -> None:
    module, fast, seen, count = Module("shop"), asyncio.Event(), list[int](), 500

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        if not fast.is_set():
            await asyncio.sleep(0.02)
        seen.append(event.number)

    @module.on(Pinged)
    async def quick(event: Pinged) -> None:
        assert len(seen) < count
        fast.set()

    events = await stage.running(module, contended_budget=0.1, inline_budget=0.2)
    await publish(events, [Placed(order="a", number=number) for number in range(count)])
    await until(lambda: seen)
    await events.publish(Pinged())
    await within(fast.wait())
    await until(lambda: len(seen) == count)
    assert seen == list(range(count))
    assert await stage.deliveries("dead") == []


async def test_attempts_that_wait_for_a_connection_do_not_hold_up_the_others(stage: Stage) -> None:
    slow = Slow()
    hanging = list[int]()

    @slow.module.on(Placed, id="shop.hanging")
    async def hang(event: Placed, session: HandlerSession) -> None:
        hanging.append(event.number)
        await slow.go.wait()
        await effect(session, "hanging", event.number)

    slow.number = 0
    events = await stage.running(slow.module, contended_budget=0.02, inline_budget=0.1, handler_connections=3)
    await publish(events, [Placed(order=str(number), number=number) for number in range(8)])
    await until(lambda: len(hanging) == 3)
    await events.publish(Pinged(number=7))
    await until(lambda: slow.done == [7])
    assert len(hanging) == 3
    slow.go.set()
    await until(lambda: stage.value("SELECT count(*) = 8 FROM effect"))
    await until(lambda: stage.value("SELECT count(*) FILTER (WHERE state = 'done') = count(*) FROM events.delivery"))
    assert sorted(hanging) == list(range(8))
    assert {row["attempts"] for row in await stage.deliveries()} == {1}


class _Left:
    def __init__(self) -> None:
        self.deliveries = list[int]()


class _Crew:
    """Has one slow attempt at any time; detaching it parks ``followers``."""

    def __init__(self, left: _Left, began: float, followers: int, *, many: bool = False) -> None:
        self.left, self.followers, self.has_more, self.detached = left, followers, False, 0
        run = type("Run", (), {"began": began, "item": type("Item", (), {"many": many})})
        self.hands = [type("Hand", (), {"run": run, "waits_for_slot": False})]

    def detach(self, _: object) -> None:
        self.detached += 1
        self.left.deliveries.extend([0] * (1 + self.followers))


@pytest.mark.parametrize("followers", [0, 300])
async def test_after_making_way_there_is_a_rest_in_proportion(followers: int) -> None:
    usher, left = Usher(0.0, 600.0), _Left()
    crew: Any = _Crew(left, asyncio.get_running_loop().time(), followers)
    settlement: Any = left
    usher.attend(crew, settlement)
    usher.make_way()
    assert crew.detached == 1
    wait, rest = usher.make_way(), REST + REST_OF_FOLLOWERS * followers
    assert (crew.detached, 0 < wait <= rest) == (1, True)
    assert wait > rest * 0.5


async def test_nothing_makes_way_while_attempts_are_left_to_be_begun() -> None:
    usher, left = Usher(0.0, 600.0), _Left()
    crew: Any = _Crew(left, asyncio.get_running_loop().time(), 0)
    settlement: Any = left
    usher.attend(crew, settlement)
    crew.has_more = True
    usher.make_way()
    assert crew.detached == 0


async def test_a_list_does_not_make_way_before_its_inline_budget_is_over() -> None:
    usher, left = Usher(0.0, 600.0), _Left()
    crew: Any = _Crew(left, asyncio.get_running_loop().time(), 0, many=True)
    settlement: Any = left
    usher.attend(crew, settlement)
    usher.make_way()
    assert crew.detached == 0
