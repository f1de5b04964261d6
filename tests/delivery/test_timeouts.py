"""Time-outs end the wait, whatever the handler does; what was given up changes nothing any more."""

import asyncio
import contextlib
import threading

from fastapi_events import Delivery, HandlerSession, Module, Retry, fixed
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, until, within


async def test_a_handler_that_swallows_cancellation_is_left_behind(stage: Stage) -> None:
    module, seen, release = Module("shop"), [], asyncio.Event()

    @module.on(Placed, retry=Retry(1), timeout=0.1)
    async def stubborn(event: Placed) -> None:
        if event.order == "stuck":
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    seen.append("cancelled")
        seen.append(event.order)

    events = await stage.idle(module)
    await publish(events, [Placed(order="stuck"), Placed(order="a"), Placed(order="stuck", number=2)])
    await within(events.drain_once(), 5)
    assert sorted(seen) == ["a", "cancelled"]
    [dead, parked] = await stage.deliveries()
    assert (dead["state"], dead["reason"], parked["reason"]) == ("dead", "timed_out", "key_blocked")
    assert "0.1 s" in dead["error_message"]
    release.set()
    await until(lambda: seen.count("stuck") == 1)
    assert len(await stage.deliveries("dead")) == 1


async def test_a_time_out_is_an_attempt_and_is_retried(stage: Stage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)), timeout=0.05)
    async def slow(event: Placed, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            await asyncio.Event().wait()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 5)
    assert attempts == [1, 2]
    [row] = await stage.deliveries()
    assert (row["state"], row["attempts"]) == ("done", 2)


async def test_a_blocking_def_handler_is_timed_out_while_others_go_on(stage: Stage) -> None:
    module, seen, release = Module("shop"), [], threading.Event()

    @module.on(Placed, retry=Retry(1), timeout=0.1)
    def blocking(event: Placed) -> None:
        if event.order == "stuck":
            release.wait()
        seen.append(event.order)

    events = await stage.idle(module)
    await publish(events, [Placed(order="stuck"), Placed(order="a"), Placed(order="b")])
    try:
        await within(events.drain_once(), 5)
        assert sorted(seen) == ["a", "b"]
        [dead] = await stage.deliveries()
        assert (dead["state"], dead["reason"]) == ("dead", "timed_out")
    finally:
        release.set()
    await until(lambda: "stuck" in seen)


async def test_a_transactional_handler_that_comes_back_after_its_time_out_leaves_no_effect(stage: Stage) -> None:
    module, release, back = Module("shop"), asyncio.Event(), asyncio.Event()

    @module.on(Placed, retry=Retry(1), timeout=0.5)
    async def stubborn(event: Placed, session: HandlerSession) -> None:
        await effect(session, "stubborn", 1)
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        back.set()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 5)
    release.set()
    await within(back.wait())
    tasks = [task for task in asyncio.all_tasks() if "Crew._serve" in repr(task)]
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    assert await stage.value("SELECT count(*) FROM effect") == 0
    [dead] = await stage.deliveries()
    assert (dead["state"], dead["reason"]) == ("dead", "timed_out")


async def test_the_transaction_of_a_timed_out_handler_ends_so_that_nobody_waits_for_its_locks(stage: Stage) -> None:
    module, attempts, release = Module("shop"), [], asyncio.Event()

    @module.on(Placed, retry=Retry(2, fixed(0)), timeout=0.5)
    async def slow(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await effect(session, "slow", delivery.attempt, "there can be only one")
        while delivery.attempt == 1 and not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 8)
    release.set()
    assert attempts == [1, 2]
    assert (await stage.deliveries())[0]["state"] == "done"
    assert await stage.value("SELECT array_agg(number) FROM effect") == [2]


async def test_waiting_for_a_connection_is_not_the_handlers_time(stage: Stage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(1), timeout=0.6)
    async def slow(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await effect(session, "slow", event.number)
        await asyncio.sleep(0.25)

    events = await stage.idle(module, handler_connections=1)
    await publish(events, [Placed(order=str(number), number=number) for number in range(6)])
    await within(events.drain_once())
    assert attempts == [1] * 6
    assert await stage.deliveries() == []
    assert await stage.value("SELECT count(*) FROM effect") == 6


async def test_waiting_for_a_connection_is_not_the_handlers_time_in_a_retry_either(stage: Stage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)), timeout=0.6)
    async def slow(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise ValueError("not yet")
        await asyncio.sleep(0.25)

    events = await stage.idle(module, handler_connections=1)
    await publish(events, [Placed(order=str(number), number=number) for number in range(6)])
    await within(events.drain_once())
    assert sorted(attempts) == [1] * 6 + [2] * 6
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


async def test_stubborn_handlers_do_not_keep_their_connections_from_others(stage: Stage) -> None:
    module, seen, release = Module("shop"), [], asyncio.Event()

    @module.on(Placed, retry=Retry(1), timeout=0.2)
    async def stubborn(event: Placed, session: HandlerSession) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    @module.on(Shipped)
    async def good(event: Shipped, session: HandlerSession) -> None:
        seen.append(event.number)

    events = await stage.idle(module, handler_connections=2)
    try:
        await publish(events, [Placed(order=str(number)) for number in range(6)])
        await within(events.drain_once())
        assert [row["reason"] for row in await stage.deliveries("dead")] == ["timed_out"] * 6
        await publish(events, [Shipped(order="a", number=number) for number in range(3)])
        await within(events.drain_once())
        assert seen == [0, 1, 2]
    finally:
        release.set()


async def test_threads_that_never_come_back_cost_nobody_an_attempt(stage: Stage) -> None:
    module, attempts, release = Module("shop"), [], threading.Event()

    @module.on(Placed, retry=Retry(1), timeout=0.1)
    def stuck(event: Placed) -> None:
        release.wait()

    @module.on(Shipped, retry=Retry(1))
    def good(event: Shipped, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)

    events = await stage.idle(
        module, lanes=["change"], concurrency={"events_change": 1}
    )  # one thread, and room for three that are stuck
    try:
        await publish(events, [Placed(order=str(number)) for number in range(4)])
        await within(events.drain_once())
        await publish(events, [Shipped(order="a")])
        await within(events.drain_once())
        assert attempts == []
        [waiting] = await stage.deliveries("waiting")
        assert (waiting["attempts"], waiting["postponed"]) == (0, 1)
        assert "held by def functions that have outlived their time-outs" in waiting["error_message"]
    finally:
        release.set()

    async def handled() -> bool:
        await stage.make_due()
        await events.drain_once()
        return attempts == [1]

    await until(handled)
