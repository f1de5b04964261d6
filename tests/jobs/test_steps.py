"""A step is done once for the run; what it returned is there in every later attempt."""

import asyncio
import contextlib
import re

import pytest
from pydantic import BaseModel

from fastapi_events import JobContext, Module, Retry, fixed
from tests.delivery.stage import Stage, until, within


class Quote(BaseModel):
    """A price."""

    sku: str
    cents: int


async def quote(sku: str) -> Quote:
    return Quote(sku=sku, cents=100)


def order(given: Quote, quantity: int = 1) -> int:
    return given.cents * quantity


async def test_sleeping_holds_nothing_and_goes_on_after_it(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job()
    async def remind(job: JobContext[str]) -> str:
        seen.append((job.input, job.attempt))
        try:
            await job.sleep(60)
        except Exception:  # noqa: BLE001 - what leaves a job is none
            seen.append("caught")
        return job.input

    events = await stage.idle(shop, concurrency={"batch": 1})
    first, second = [await events.jobs.start(remind, name) for name in ("a", "b")]
    await events.drain_once()
    assert seen == [("a", 1), ("b", 1)]
    rows = await stage.rows("SELECT state, worker_id, due_at - clock_timestamp() AS left FROM events.run_queue")
    assert all(row["state"] == b"t" and row["worker_id"] is None for row in rows)
    assert all(50 < row["left"].total_seconds() <= 60 for row in rows)
    await events.drain_once()
    assert len(seen) == 2
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp()")
    await stage.rows("UPDATE events.run_step SET due_at = clock_timestamp()")
    await events.drain_once()
    assert [await events.jobs.result(run, timeout=1) for run in (first, second)] == ["a", "b"]
    assert seen[2:] == [("a", 1), ("b", 1)]


async def test_who_holds_up_a_sleep_has_not_gone_on(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job()
    async def remind(job: JobContext[None]) -> str:
        with contextlib.suppress(BaseException):  # somebody does
            await job.sleep(60)
        seen.append("went on")
        return "too early"

    events = await stage.idle(shop)
    started = await events.jobs.start(remind, None)
    await events.drain_once()
    assert seen == ["went on"]
    assert (await events.jobs.get(started)).state == "pending"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("duplicate", "step 'quote' was asked for twice"),
        ("unstable", "step number 1 calls .*quote and was 'quote-1' .*and is 'quote-2' now"),
        ("changed", "step 'same' was recorded as .*quote, and is .*order now"),
        ("colon", "an id is a text of 1 to 200 characters, without colons"),
        ("unstorable", "step 'list'.*cannot be written as JSON"),
        ("needs", "its function takes 'request' .int. too, which was not passed"),
    ],
)
async def test_misuse_fails_with_its_name(stage: Stage, name: str, says: str) -> None:
    shop = Module("shop")

    async def anything() -> object:
        return object()

    async def needs(sku: str, request: int) -> None:
        return None

    @shop.job(retry=Retry(2, fixed(0)))
    async def misuse(job: JobContext[None]) -> None:
        if name == "duplicate":
            await job.step("quote", quote, "a")
            await job.step("quote", quote, "b")
        if name == "unstable":
            await job.step(f"quote-{job.attempt}", quote, "a")
        if name == "changed":
            await (
                job.step("same", quote, "a") if job.attempt == 1 else job.step("same", order, Quote(sku="a", cents=1))
            )
        if name == "colon":
            await job.step("sleep:1", quote, "a")
        if name == "unstorable":
            await job.step("list", anything)
        if name == "needs":
            await job.step("needs", needs, "a")
        raise ValueError("again")

    events = await stage.idle(shop)
    started = await events.jobs.start(misuse, None)
    await events.drain_once()
    view = await events.jobs.get(started)
    assert view.state == "failed"
    assert re.search(says, view.error_message or ""), view.error_message


async def test_who_has_lost_the_run_records_no_step(stage: Stage) -> None:
    shop, begun, go_on = Module("shop"), asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        begun.set()
        await go_on.wait()
        return 1

    @shop.job()
    async def restock(job: JobContext[None]) -> int:
        return await job.step("slow", slow)

    events = await stage.running(shop, heartbeat=2.0)
    await events.jobs.start(restock, None)
    await within(begun.wait())
    await stage.rows("UPDATE events.run_queue SET token = 1")
    go_on.set()
    await until(lambda: events.runtime.counters.stale_settles == 1)
    assert await stage.value("SELECT count(*) FROM events.run_step") == 0


async def test_progress_is_kept(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def restock(job: JobContext[None]) -> None:
        await job.progress(3, 10)
        await job.checkpoint()
        await job.heartbeat()

    events = await stage.idle(shop)
    await events.jobs.start(restock, None)
    await events.drain_once()
    [row] = await stage.rows("SELECT done, total FROM events.run_progress")
    assert tuple(row) == (3, 10)
    assert await stage.value("SELECT name FROM events.run_step") == "checkpoint:1"
