"""Jobs and steps with sessions never wait for each other's connections, and leave some to handlers."""

import asyncio
from typing import Any

import pytest

from fastapi_events import HandlerSession, JobContext, Module, Retry
from fastapi_events.engine.slots import Slots
from tests.delivery.stage import Placed, Stage, effect, until, within


async def double(number: int, session: HandlerSession) -> int:
    await effect(session, "double", number)
    return number * 2


async def test_jobs_with_a_session_whose_steps_take_one_all_get_on(stage: Stage) -> None:
    module = Module("shop")

    @module.job(pool="interactive", retry=Retry(1), timeout=600)
    async def restock(job: JobContext[int], session: HandlerSession) -> int:
        await effect(session, "restock", job.input)
        doubled: int = await job.step("double", double, job.input)
        return doubled

    events = await stage.running(module, handler_connections=3)
    runs = await events.jobs.start_many(restock, range(10))
    assert [await within(events.jobs.result(run, timeout=10)) for run in runs] == [number * 2 for number in range(10)]
    assert await stage.value("SELECT count(*) FROM effect") == 20


@pytest.mark.parametrize("where", ["job", "step"])
async def test_jobs_that_keep_their_sessions_leave_connections_to_handlers(stage: Stage, where: str) -> None:
    module, go_on, handled = Module("shop"), asyncio.Event(), list[int]()

    async def hold(session: HandlerSession) -> None:
        await effect(session, "hold", 0)
        await go_on.wait()

    @module.job(pool="interactive", name="shop.job")
    async def long(job: JobContext[int], session: HandlerSession) -> None:
        await hold(session)

    @module.job(pool="interactive", name="shop.step")
    async def in_step(job: JobContext[int]) -> None:
        await job.step("hold", hold)

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number)
        handled.append(event.number)

    events = await stage.running(module, handler_connections=3)
    for number in range(5):
        await events.jobs.start(long if where == "job" else in_step, number)
    await until(lambda: stage.value("SELECT count(*) >= 5 FROM events.run_queue WHERE state = 'x'"))
    await events.publish(Placed(order="a", number=7))
    await until(lambda: handled == [7])
    go_on.set()
    await until(lambda: stage.value("SELECT count(*) = 5 FROM events.run_end WHERE state = 'completed'"))


async def test_what_no_connection_is_left_for_is_refused_at_once(stage: Stage) -> None:
    module, began = Module("shop"), list[Any]()

    async def outer(job: JobContext[Any], session: HandlerSession) -> None:
        began.append("outer")
        await job.step("inner", double, 1)

    @module.job(retry=Retry(1))
    async def both(job: JobContext[None], session: HandlerSession) -> None:
        await job.step("double", double, 1)

    @module.job(retry=Retry(1))
    async def within_each_other(job: JobContext[None]) -> None:
        await job.step("outer", outer, job)

    events = await stage.idle(module, handler_connections=1)
    runs = [await events.jobs.start(both, None), await events.jobs.start(within_each_other, None)]
    await within(events.drain_once())
    first, second = [(await events.jobs.get(run)).error_message or "" for run in runs]
    assert "needs two connections at once" in first
    assert "EVENTS_HANDLER_CONNECTIONS" in first
    assert "step 'inner' takes a HandlerSession inside step 'outer', which has one" in second
    assert began == ["outer"]
    assert await stage.value("SELECT count(*) FROM effect") == 0


async def test_a_place_that_is_not_waited_for_to_the_end_is_not_kept() -> None:
    slots = Slots(2, [0])
    held = [await slots.take_for_attempt(), await slots.take_for_step()]
    waiting = [asyncio.ensure_future(take()) for take in (slots.take_for_attempt, slots.take_for_step)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    for slot in held:
        slot.release()
    assert [await within(slots.take(0)) for _ in range(2)]
