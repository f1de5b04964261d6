"""A run that waits for its next attempt, or whose process has vanished, has not ended: it has its key and its place."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Concurrency, Dedupe, Events, JobContext, Module, Retry, fixed
from fastapi_events.errors import JobCollisionError
from tests.delivery.stage import Stage, until, within

DEDUPE = {"dedupe": Dedupe(key=str)}
REJECT = {"concurrency": Concurrency(key=str, on_collision="reject")}
REPLACE = {"concurrency": Concurrency(key=str, on_collision="replace")}
OVER = "UPDATE events.run_queue SET due_at = '-infinity' WHERE due_at IS NOT NULL"


class Shop:
    """A job whose first attempt fails, or is left behind by a process that vanishes."""

    def __init__(self, how: str, **options: Any) -> None:
        self.module, self.how, self.attempts, self.go_on = Module("shop"), how, 0, asyncio.Event()

        @self.module.job("shop.work", retry=Retry(2, fixed(3600)), **options)
        async def work(job: JobContext[str]) -> None:
            self.attempts += 1
            if self.attempts > 1:
                return
            if self.how == "retry":
                raise ValueError("not yet")
            await self.go_on.wait()

        self.work: Any = work

    async def left(self, stage: Stage) -> tuple[Events, Any]:
        """The instance that is there, and the run that is on its way."""
        if self.how == "retry":
            events = await stage.idle(self.module)
            run = await events.jobs.start(self.work, "a")
            await within(events.drain_once())
        else:
            gone = await stage.running(self.module, heartbeat=2.0)
            run = await gone.jobs.start(self.work, "a")
            await until(lambda: self.attempts == 1)
            pools: Any = gone.runtime.jobs
            for pool in pools.work.pools:
                pool.in_hand.clear()  # what has vanished records nothing
            self.go_on.set()
            await gone.stop()
            events = await stage.idle(self.module)
        assert await stage.value("SELECT state FROM events.run_queue") == (b"t" if self.how == "retry" else b"x")
        return events, run


@pytest.mark.parametrize("how", ["retry", "rescue"])
async def test_it_stands_for_starts_of_its_key_until_it_has_ended(stage: Stage, how: str) -> None:
    shop = Shop(how, **DEDUPE)
    events, run = await shop.left(stage)
    assert (await events.jobs.start(shop.work, "a")).run == run.run
    await stage.rows(OVER)
    assert (await events.jobs.start(shop.work, "a")).run == run.run
    await within(events.drain_once())
    assert (await events.jobs.get(run)).state == "completed"
    assert not (await events.jobs.start(shop.work, "a")).existing


@pytest.mark.parametrize("how", ["retry", "rescue"])
async def test_it_has_its_place_where_others_are_rejected(stage: Stage, how: str) -> None:
    shop = Shop(how, **REJECT)
    events, run = await shop.left(stage)
    for _ in range(2):
        with pytest.raises(JobCollisionError) as caught:
            await events.jobs.start(shop.work, "a")
        assert caught.value.run == run.run
        await stage.rows(OVER)
    await within(events.drain_once())
    assert (await events.jobs.get(run)).state == "completed"
    await events.jobs.start(shop.work, "a")


@pytest.mark.parametrize("how", ["retry", "rescue"])
async def test_it_is_replaced_and_makes_no_further_attempt(stage: Stage, how: str) -> None:
    shop = Shop(how, **REPLACE)
    events, run = await shop.left(stage)
    newer = await events.jobs.start(shop.work, "a")
    await stage.rows(OVER)
    await within(events.drain_once())
    old = await events.jobs.get(run)
    assert (old.state, old.note) == ("canceled", f"replaced by run {newer.run}")
    assert (await events.jobs.get(newer)).state == "completed"
    assert shop.attempts == 2
    assert await stage.value("SELECT count(*) FROM events.run_queue") == 0


async def test_one_that_was_replaced_at_work_may_begin_anew_at_once(stage: Stage) -> None:
    """What it was told then holds no more, also before it is swept up."""
    shop = Shop("at work", **REPLACE)
    events = await stage.running(shop.module, poll_interval=600.0, poll_interval_degraded=600.0)
    old = await events.jobs.start(shop.work, "a")
    await until(lambda: shop.attempts == 1)
    newer = await events.jobs.start(shop.work, "a")
    await within(events.jobs.result(newer, timeout=10))
    assert (await events.jobs.get(old)).note == f"replaced by run {newer.run}"
    reason = f"replaced by run {newer.run}"  # unless somebody has forgotten it already
    await stage.rows("INSERT INTO events.run_replaced VALUES ($1, $2) ON CONFLICT DO NOTHING", old.run, reason)
    assert await events.jobs.retry(old)
    await within(events.jobs.result(old, timeout=10))
    assert (await events.jobs.get(old)).state == "completed"
