"""Pausing a handler, a lane or everything: events wait, nothing is spent, and it outlasts restarts."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Event, Module, Retry, fixed
from fastapi_events.errors import OperationRefused
from tests.delivery.stage import SLOW, Placed, Stage, publish, until, within


class Mailed(Event, name="shop.order.mailed", direction="outbound", aggregate_id="order"):
    order: str
    number: int = 0


def shop(seen: list[Any], failing: list[str] | None = None) -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.one", retry=Retry(2, fixed(0)))
    async def one(event: Placed) -> None:
        if failing:
            failing.pop()
            raise ValueError("no")
        seen.append(("one", event.number))

    @module.on(Placed, id="shop.two")
    async def two(event: Placed) -> None:
        seen.append(("two", event.number))

    @module.on(Mailed, id="shop.mail", retry=Retry(2, fixed(0)))
    async def mail(event: Mailed) -> None:
        if failing:
            failing.pop()
            raise ValueError("no")
        seen.append(("mail", event.number))

    return module


async def test_a_paused_handler_gets_nothing_and_the_others_go_on(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.running(shop(seen))
    assert await events.operations.pause(handler="shop.one", actor="me", reason="a look at it")
    await publish(events, [Placed(order="a", number=number) for number in range(3)])
    await until(lambda: seen == [("two", number) for number in range(3)])
    await until(lambda: stage.value("SELECT count(*) = 3 FROM events.delivery"))
    row = (await stage.deliveries())[0]
    assert (row["state"], row["reason"], row["attempts"]) == ("waiting", "paused", 0)
    assert not await events.operations.pause(handler="shop.one", actor="me")
    assert await events.operations.resume(handler="shop.one", actor="me")
    await until(lambda: [pair for pair in seen if pair[0] == "one"] == [("one", number) for number in range(3)])
    actions = [(action.action, action.target) for action in await events.operations.actions()]
    assert actions == [("resume_handler", "shop.one"), ("pause_handler", "shop.one"), ("pause_handler", "shop.one")]


async def test_a_pause_holds_in_every_process_and_after_restarts(stage: Stage) -> None:
    first, second = list[Any](), list[Any]()
    events = await stage.running(shop(first), **SLOW)
    other = await stage.running(shop(second), **SLOW)
    await events.operations.pause(handler="shop.one", actor="me")
    await until(lambda: other.runtime.gates.closed)
    await within(events.stop())
    later = await stage.running(shop(first), **SLOW)
    assert later.runtime.gates.closed
    await publish(later, [Placed(order=str(number), number=number) for number in range(5)])
    await until(lambda: len(first) + len(second) == 5)
    await later.operations.resume(handler="shop.one", actor="me")
    await until(lambda: len(first) + len(second) == 10)


async def test_a_paused_lane_is_not_read_and_its_retries_wait(stage: Stage) -> None:
    seen, failing = list[Any](), ["once"]
    events = await stage.idle(shop(seen, failing))
    await events.publish(Mailed(order="a", number=0))
    [outbound] = [lane for lane in events.runtime.drain_loops if lane._lane == 2] or [None]
    assert outbound is None  # an idle instance makes its loops when they are asked for
    events.runtime.make_drains()
    await within(events.runtime.drain_loops[2].drain())
    assert failing == []
    await events.operations.pause(lane="outbound", actor="me")
    await until(lambda: events.runtime.gates.paused_lanes)
    await publish(events, [Mailed(order="b", number=1), Placed(order="a")])
    await within(events.drain_once())
    assert sorted(seen) == [("one", 0), ("two", 0)]
    assert await stage.value("SELECT count(*) FROM events.delivery WHERE state = 'waiting'") == 1
    assert await events.operations.resume(lane="outbound", actor="me")
    await until(lambda: not events.runtime.gates.paused_lanes)
    await within(events.drain_once())
    assert sorted(seen) == [("mail", 0), ("mail", 1), ("one", 0), ("two", 0)]


async def test_everything_can_be_paused(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.running(shop(seen), **SLOW)
    assert await events.operations.pause(actor="me")
    await until(lambda: len(events.runtime.gates.paused_lanes) == 3)
    other_seen: list[Any] = []
    other = await stage.running(shop(other_seen), group="other")
    await publish(events, [Placed(order="a"), Mailed(order="a")])
    await until(lambda: len(other_seen) == 3)
    await within(other.stop())
    assert seen == []
    assert await events.operations.resume(actor="me")
    await until(lambda: len(seen) == 3)


async def test_what_runs_when_it_is_paused_goes_on_to_its_end(stage: Stage) -> None:
    module, reached, go, seen = Module("shop"), asyncio.Event(), asyncio.Event(), []

    @module.on(Placed, id="shop.one")
    async def one(event: Placed) -> None:
        reached.set()
        await go.wait()
        seen.append(event.number)

    events = await stage.running(module)
    await publish(events, [Placed(order="a", number=number) for number in range(2)])
    await within(reached.wait())
    await events.operations.pause(handler="shop.one", actor="me")
    await until(lambda: events.runtime.gates.closed)
    go.set()
    await until(lambda: stage.value("SELECT reason = 'paused' FROM events.delivery"))
    assert seen == [0]


async def test_without_notifications_the_heartbeat_brings_the_news(stage: Stage) -> None:
    seen: list[Any] = []
    deaf = await stage.running(shop(seen), notify="off", **SLOW)
    events = await stage.idle(shop([]), notify="off")
    await events.operations.pause(handler="shop.one", actor="me")
    await until(lambda: deaf.runtime.gates.closed)


async def test_a_broadcast_handler_is_refused_as_what_it_is(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, id="shop.cache", broadcast=True)
    async def cache(event: Placed) -> None: ...

    events = await stage.idle(module)
    for act in (events.operations.pause, events.operations.resume):
        with pytest.raises(OperationRefused, match=r"'shop.cache' is a broadcast handler: .* never paused"):
            await act(handler="shop.cache", actor="me")
    with pytest.raises(OperationRefused, match=r"'shop.cache' is a broadcast handler: .* It has no breaker"):
        await events.operations.reset_breaker("shop.cache", actor="me")


async def test_what_does_not_exist_is_refused(stage: Stage) -> None:
    events = await stage.idle(shop([]))
    with pytest.raises(OperationRefused, match=r"no handler 'shop.oen'. Did you mean 'shop.one'\?"):
        await events.operations.pause(handler="shop.oen", actor="me")
    with pytest.raises(OperationRefused, match=r"'outward' is no lane\. The lanes are inbound, change, outbound"):
        await events.operations.pause(lane="outward", actor="me")  # type: ignore[arg-type]
    with pytest.raises(OperationRefused, match="a handler and a lane at once"):
        await events.operations.pause(handler="shop.one", lane="change", actor="me")
    with pytest.raises(OperationRefused, match="actor is empty"):
        await events.operations.resume(actor=" ")
    assert await events.operations.actions() == []


async def test_what_was_parked_before_a_process_started_goes_on_as_soon_as_its_handler_does(stage: Stage) -> None:
    """While it was paused, the process has looked for what was due of the others and found nothing."""
    seen: list[Any] = []
    first = await stage.idle(shop(seen))
    assert await first.operations.pause(handler="shop.one", actor="me")
    await publish(first, [Placed(order="a", number=1)])
    await first.runtime.refresh_plan()
    await first.drain_once()
    assert seen == [("two", 1)]
    await stage.rows("UPDATE events.parked_key SET due_at = clock_timestamp() - interval '1 hour'")
    running = await stage.running(shop(seen), **SLOW)
    redelivery: Any = running.runtime.redelivery
    await until(lambda: redelivery._next_full_search > 0.0, "the process to have looked everywhere")
    assert await running.operations.resume(handler="shop.one", actor="me")
    await until(lambda: ("one", 1) in seen)


async def test_drain_once_knows_what_others_have_paused_and_resumed(stage: Stage) -> None:
    """No heartbeat and no notification brings it in time: whoever handles by hand asks."""
    seen: list[Any] = []
    deaf: dict[str, Any] = {"heartbeat": 2.0, "notify": "off"}
    events, other = await stage.idle(shop(seen), **deaf), await stage.idle(shop(seen), **deaf)
    await other.operations.pause(handler="shop.one", actor="me")
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    assert seen == [("two", 1)]
    await other.operations.resume(handler="shop.one", actor="me")
    await events.drain_once()
    assert seen == [("two", 1), ("one", 1)]
