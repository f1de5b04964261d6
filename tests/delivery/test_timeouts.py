"""Time-outs end the wait, whatever the handler does; what was given up changes nothing any more."""

import asyncio
import contextlib
import threading

from fastapi_events import Delivery, HandlerSession, Module, Retry, fixed
from tests.delivery.stage import Placed, Stage, effect, publish, until, within


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
