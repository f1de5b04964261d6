"""Waiting for events."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Delivery, Discard, Events, Module, Retry, fixed
from fastapi_events.errors import NotFound
from fastapi_events.testing import wait_for, waiting
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, until, within


def _module(go_on: asyncio.Event, begun: list[int] | None = None) -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.place", retry=Retry(max_attempts=2, backoff=fixed(0)))
    async def place(event: Placed, delivery: Delivery) -> None:
        if begun is not None:
            begun.append(delivery.attempt)
        if event.number != 13 or delivery.attempt == 2:
            await go_on.wait()
        if event.number == 13:
            raise ValueError("unlucky")

    @module.on(Pinged, id="shop.ping")
    async def ping(event: Pinged) -> None:
        raise Discard("not wanted")

    return module


def _all_wait(events: Events) -> bool:
    """Whether everybody who waits for news has looked, and waits again."""
    waiting = events.runtime.wake.news.waiting
    return bool(waiting) and all(event._waiters for event in waiting)


@pytest.mark.parametrize(("number", "state", "attempt"), [(1, "done", 1), (13, "dead", 2)])
async def test_it_returns_when_the_handler_is_through(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int, state: Any, attempt: int
) -> None:
    """Settled with a batch, or by the retry side: either is heard of, and nothing else can bring it on."""
    monkeypatch.setattr(waiting, "ELSEWHERE", 600.0)
    go_on, begun = asyncio.Event(), list[int]()
    events = await stage.running(_module(go_on, begun), notify="off", **SLOW)
    waiter = asyncio.create_task(wait_for(events, Placed, handler="shop.place", state=state, timeout=60))
    await until(lambda: _all_wait(events))
    await events.publish(Placed(order="a", number=number))
    assert (await within(wait_for(events, Placed))).event.number == number
    await until(lambda: attempt in begun and _all_wait(events))
    assert not waiter.done()
    go_on.set()
    assert (await within(waiter)).event.number == number


async def test_an_instance_without_loops_is_drained(stage: Stage) -> None:
    go_on = asyncio.Event()
    go_on.set()
    events = await stage.idle(_module(go_on))
    await events.publish(Placed(order="a", number=1))
    await wait_for(events, Placed, handler="shop.place")


async def test_another_end_is_told_at_once(stage: Stage) -> None:
    go_on = asyncio.Event()
    go_on.set()
    events = await stage.running(_module(go_on))
    await events.publish(Placed(order="a", number=13))
    with pytest.raises(AssertionError, match=r"dead \(max_attempts\) after 2 attempts: ValueError: unlucky"):
        await within(wait_for(events, Placed, handler="shop.place", timeout=60))
    await events.publish(Pinged())
    with pytest.raises(AssertionError, match="discarded"):
        await within(wait_for(events, Pinged, handler="shop.ping", timeout=60))
    await wait_for(events, Pinged, handler="shop.ping", state="discarded")


async def test_too_late_says_what_there_was(stage: Stage) -> None:
    go_on = asyncio.Event()
    events = await stage.running(_module(go_on), shutdown_grace=0)
    await events.publish(Placed(order="a", number=1))
    with pytest.raises(AssertionError, match=r"to be through with Placed\(order='a', number=1\): shop.place has it"):
        await wait_for(events, Placed, handler="shop.place", timeout=0.05)
    with pytest.raises(AssertionError, match=r"There is no shop\.order\.shipped[^$]*Other events: shop\.order\.placed"):
        await wait_for(events, Shipped, timeout=0.01)
    with pytest.raises(NotFound, match=r"Did you mean 'shop\.place'"):
        await wait_for(events, Placed, handler="shop.plaec")
    go_on.set()


@pytest.mark.parametrize(
    ("event", "handler", "told"),
    [
        (Placed, "shop.cache", r"'shop\.cache' is a broadcast handler: nothing is recorded .* events\.drain_once\(\)"),
        (
            Shipped,
            "shop.place",
            r"'shop\.place' takes 'shop\.order\.placed', and is never given 'shop\.order\.shipped'",
        ),
    ],
)
async def test_what_nobody_could_see_is_not_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, event: Any, handler: str, told: str
) -> None:
    monkeypatch.setattr(waiting, "ELSEWHERE", 600.0)
    module = _module(asyncio.Event())

    @module.on(Placed, id="shop.cache", broadcast=True)
    async def cache(event: Placed) -> None: ...

    events = await stage.running(module, **SLOW)
    with pytest.raises(NotFound, match=told):
        await within(wait_for(events, event, handler=handler, timeout=600))
