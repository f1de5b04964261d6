"""Standing in for handlers."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Delivery, HandlerSession, Module, Retry, fixed
from fastapi_events.errors import NotFound, NotStarted
from fastapi_events.testing import mock_handler
from tests.delivery.stage import Pinged, Placed, Stage, publish


def _module(seen: list[str]) -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.place", retry=Retry(max_attempts=3, backoff=fixed(0)))
    async def place(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        seen.append("placed")

    @module.on(Pinged, id="shop.ping")
    def ping(event: Pinged) -> None:
        seen.append("pinged")

    return module


async def test_a_mock_records_fails_and_gives_way_again(stage: Stage) -> None:
    seen: list[str] = []
    events = await stage.idle(_module(seen))
    with mock_handler(events, "shop.place", side_effect=[ValueError("once"), None]) as mock:
        await events.publish(Placed(order="a", number=1))
        await events.drain_once()
        assert mock.events == [Placed(order="a", number=1)] * 2
        assert set(mock.calls[0].arguments) == {"session", "delivery"}
        assert [call.arguments["delivery"].attempt for call in mock.calls] == [1, 2]
        mock.side_effect = RuntimeError
        await events.publish(Placed(order="b", number=2))
        await events.drain_once()
        assert mock.call_count == 5
    assert seen == []
    assert [row["error_type"] for row in await stage.deliveries("dead")] == ["RuntimeError"]
    assert await stage.value("SELECT count(*) FROM events.processing_mark WHERE outcome = 'd'") == 1
    await events.publish(Placed(order="c"))
    await events.drain_once()
    assert seen == ["placed"]


async def test_a_function_stands_in_and_def_handlers_have_mocks_too(stage: Stage) -> None:
    events = await stage.idle(_module([]))
    given: list[int] = []

    async def note(event: Placed, **_: object) -> None:
        await asyncio.sleep(0)
        given.append(event.number)

    with mock_handler(events, "shop.place", side_effect=note), mock_handler(events, "shop.ping") as ping:
        ping.assert_not_called()
        await events.publish(Placed(order="a", number=3))
        await events.publish(Pinged(number=4))
        await events.drain_once()
        assert ping.assert_called_once() == Pinged(number=4)
        with pytest.raises(AssertionError, match=r"'shop\.ping'.* called 1 times"):
            ping.assert_not_called()
    assert given == [3]


async def test_it_is_restored_after_an_error(stage: Stage) -> None:
    events = await stage.idle(_module([]))
    original = events.runtime.plan.handlers["shop.place"].function
    with pytest.raises(ZeroDivisionError), mock_handler(events, "shop.place"):
        assert events.runtime.plan.handlers["shop.place"].function is not original
        raise ZeroDivisionError
    assert events.runtime.plan.handlers["shop.place"].function is original


async def test_a_function_says_which_handler_is_meant(stage: Stage) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, id="shop.place")
    async def place(event: Placed) -> None:
        seen.append(event.number)

    @module.on(Pinged, id="shop.ping")
    @module.on(Pinged, id="shop.cache", broadcast=True)
    async def ping(event: Pinged) -> None: ...

    events = await stage.idle(module)
    with mock_handler(events, place) as mock:
        await events.publish(Placed(order="a", number=3))
        await events.drain_once()
        assert mock.assert_called_once() == Placed(order="a", number=3)
        assert mock.handler == "shop.place"
    assert seen == []
    with pytest.raises(NotFound, match=r"ping is the function of 2 handlers .* Give the id: one of shop.cache, shop.p"):
        mock_handler(events, ping).__enter__()
    for other in (print, 7):
        wrong: Any = other
        with pytest.raises(NotFound, match=r"(print|7) is no handler's function .* Give the id: one of shop.cache, "):
            mock_handler(events, wrong).__enter__()


async def test_a_mock_of_a_batch_handler_is_given_lists(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, id="shop.project", batch=10)
    async def project(events: list[Placed]) -> None: ...

    events = await stage.idle(module)
    placed = [Placed(order="a", number=number) for number in range(3)]
    with mock_handler(events, "shop.project") as mock:
        await publish(events, placed)
        await events.drain_once()
    assert mock.events == [placed]


async def test_unknown_handlers_are_refused_with_the_near_miss(stage: Stage) -> None:
    events = await stage.idle(_module([]))
    with pytest.raises(NotFound, match=r"Did you mean 'shop\.place'"), mock_handler(events, "shop.plase"):
        pass
    with pytest.raises(NotFound, match=r"Did you mean 'shop\.place'"), mock_handler(events, "place"):
        pass
    with pytest.raises(NotFound, match=r"There are: shop\.ping, shop\.place"), mock_handler(events, "zzzzzz"):
        pass
    with pytest.raises(NotStarted), mock_handler(stage.make(_module([])), "shop.place"):
        pass
