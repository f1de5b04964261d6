"""An attempt leaves no step behind: what is out of time, cancelled or beside a pause has ended before anything else."""

import asyncio
from typing import Any

import pytest

from fastapi_events import HandlerSession, JobContext, Module, Retry, fixed
from tests.delivery.stage import Stage, until, within

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


async def hang_once() -> str:
    calls.append("begun")
    if calls.count("begun") > 1:
        return "done"
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        calls.append("cleaned up")
    raise AssertionError


async def hang(begun: asyncio.Event) -> None:
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        calls.append("cleaned up")


async def test_a_step_that_is_tried_again_has_cleaned_up_before(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> str:
        return await job.step("hang", hang_once, timeout=0.02, retry=Retry(2, fixed(0)))

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, None)
    await within(events.drain_once())
    assert await events.jobs.result(started, timeout=1) == "done"
    assert calls == ["begun", "cleaned up", "begun"]


async def test_a_run_is_cancelled_once_its_step_has_cleaned_up(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> str:
        try:
            return await job.step("hang", hang_once)
        finally:
            calls.append("left")

    events = await stage.running(shop)
    started = await events.jobs.start(restock, None)
    await until(lambda: calls == ["begun"])
    assert await events.jobs.cancel(started, reason="not wanted")
    await until(lambda: "left" in calls)
    assert calls == ["begun", "cleaned up", "left"]


async def slow(name: str, go_on: asyncio.Event) -> str:
    calls.append(f"{name} begun")
    await go_on.wait()
    calls.append(f"{name} done")
    return name


async def test_a_pause_lets_steps_beside_it_finish(stage: Stage) -> None:
    shop, go_on = Module("shop"), asyncio.Event()

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> str:
        async def nap() -> None:
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.05, go_on.set)
            await job.sleep(60)

        _, name = await asyncio.gather(nap(), job.step("slow", slow, "slow", go_on))
        return name

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, None)
    await within(events.drain_once())
    assert (await events.jobs.get(started)).state == "pending"
    assert calls == ["slow begun", "slow done"]
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp()")
    await stage.rows("UPDATE events.run_step SET due_at = clock_timestamp() WHERE kind = 'sleep'")
    await within(events.drain_once())
    assert await events.jobs.result(started, timeout=1) == "slow"
    assert calls == ["slow begun", "slow done"]


async def test_a_failure_leaves_no_step_behind(stage: Stage) -> None:
    shop, begun = Module("shop"), asyncio.Event()

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> None:
        async def fail() -> None:
            await begun.wait()
            raise ValueError("one of two")

        await asyncio.gather(fail(), job.step("hang", hang, begun))

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, None)
    await within(events.drain_once())
    assert (await events.jobs.get(started)).error_message == "one of two"
    assert calls == ["cleaned up"]


@pytest.mark.parametrize("in_session", [False, True])
async def test_a_run_that_is_lost_leaves_no_step_behind(stage: Stage, in_session: bool) -> None:
    shop, begun = Module("shop"), asyncio.Event()

    async def lose() -> None:
        await begun.wait()
        await stage.rows("UPDATE events.run_queue SET token = token + 1")

    async def both(job: JobContext[None]) -> None:
        await asyncio.gather(job.step("lose", lose), job.step("hang", hang, begun))

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> None:
        await both(job)

    @shop.job(retry=Retry(1))
    async def restock_in_session(job: JobContext[None], session: HandlerSession) -> None:
        await both(job)

    events = await stage.idle(shop, heartbeat=2.0)  # nobody else finds out that it is lost
    await events.jobs.start(restock_in_session if in_session else restock, None)
    await within(events.drain_once())
    assert calls == ["cleaned up"]
