"""Waiting for events."""

import asyncio

import pytest

from fastapi_events import Discard, Module, Retry, fixed
from fastapi_events.errors import NotFound
from fastapi_events.testing import wait_for, waiting
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, within


def _module(go_on: asyncio.Event) -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.place", retry=Retry(max_attempts=2, backoff=fixed(0)))
    async def place(event: Placed) -> None:
        await go_on.wait()
        if event.number == 13:
            raise ValueError("unlucky")

    @module.on(Pinged, id="shop.ping")
    async def ping(event: Pinged) -> None:
        raise Discard("not wanted")

    return module


async def test_it_returns_when_the_handler_is_through(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ELSEWHERE", 600.0)  # only the signal can bring it on
    go_on = asyncio.Event()
    events = await stage.running(_module(go_on), **SLOW)
    waiter = asyncio.create_task(wait_for(events, Placed, handler="shop.place", number=1, timeout=60))
    await asyncio.sleep(0)
    await events.publish(Placed(order="a", number=1))
    assert (await within(wait_for(events, Placed))).event.number == 1
    assert not waiter.done()
    go_on.set()
    assert (await within(waiter)).event.number == 1


async def test_it_is_woken_by_a_retry_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ELSEWHERE", 600.0)
    go_on = asyncio.Event()
    go_on.set()
    events = await stage.running(_module(go_on), **SLOW)
    waiter = asyncio.create_task(wait_for(events, Placed, handler="shop.place", state="dead", timeout=60))
    await events.publish(Placed(order="a", number=13))
    await within(waiter)


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
