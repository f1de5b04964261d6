"""Which starts are one, how many runs are at work at once, and how fast they begin, on both back ends."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_events import Concurrency, Dedupe, JobContext, Module, RateLimit, Retry, fixed
from fastapi_events.errors import JobCanceled, JobCollisionError, RunConflict
from tests.conformance.backends import Backend
from tests.delivery.stage import within


class Restock(BaseModel):
    """What is limited by its sku."""

    sku: str
    number: int = 0


BY_SKU = Dedupe(key=lambda restock: restock.sku)


def limited(seen: list[int], **options: Any) -> tuple[Module, Any]:
    """A module, and its one job, which notes its numbers."""
    module = Module("shop")

    @module.job("shop.restock", **options)
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)

    return module, restock


async def test_a_second_start_gives_the_first_run(backend: Backend) -> None:
    seen: list[int] = []
    module, restock = limited(seen, dedupe=BY_SKU)
    events = await backend.idle(module)
    first = await events.jobs.start(restock, Restock(sku="a"))
    again = await events.jobs.start(restock, Restock(sku="a", number=1))
    other = await events.jobs.start(restock, Restock(sku="b", number=2))
    assert (first.existing, again.existing, other.existing) == (False, True, False)
    assert again.run == first.run != other.run
    await events.drain_once()
    assert seen == [0, 2]
    after = await events.jobs.start(restock, Restock(sku="a"))
    assert not after.existing
    assert after.run != first.run


async def test_of_equal_keys_in_one_call_the_first_is_started(backend: Backend) -> None:
    seen: list[int] = []
    module, restock = limited(seen, dedupe=BY_SKU)
    events = await backend.idle(module)
    started = await events.jobs.start_many(restock, [Restock(sku=sku, number=n) for n, sku in enumerate("abaac")])
    assert [one.existing for one in started] == [False, False, True, True, False]
    await events.drain_once()
    assert seen == [0, 1, 4]


async def test_a_savepoint_that_is_rolled_back_frees_the_key(backend: Backend) -> None:
    module, restock = limited([], dedupe=BY_SKU)
    events = await backend.idle(module)
    async with events.session() as session:
        jobs = events.job_client(session)
        async with session.begin_nested() as savepoint:
            await jobs.start(restock, Restock(sku="a"))
            await savepoint.rollback()
        kept = await jobs.start(restock, Restock(sku="a"))
        assert not kept.existing
        assert (await jobs.start(restock, Restock(sku="a"))).run == kept.run
        await session.commit()
    assert [one.id for one in (await events.jobs.list()).runs] == [kept.run]


async def test_a_window_lasts_whatever_has_become_of_the_run(backend: Backend) -> None:
    module, restock = limited([], dedupe=Dedupe(key=lambda one: one.sku, window=timedelta(hours=1)))
    events = await backend.idle(module)
    first = await events.jobs.start(restock, Restock(sku="a"))
    await events.drain_once()
    assert (await events.jobs.get(first)).state == "completed"
    assert (await events.jobs.start(restock, Restock(sku="a"))).run == first.run
    await backend.later(3601)
    assert not (await events.jobs.start(restock, Restock(sku="a"))).existing


async def test_until_it_has_begun_one_waits_while_one_works(backend: Backend) -> None:
    module, begun, go_on, seen = Module("shop"), asyncio.Event(), asyncio.Event(), []

    @module.job(dedupe=Dedupe(key=lambda one: one.sku, until="started"))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)
        begun.set()
        await go_on.wait()

    events = await backend.running(module, concurrency={"batch": 1})
    await events.jobs.start(restock, Restock(sku="a", number=0))
    await within(begun.wait())
    waits = await events.jobs.start(restock, Restock(sku="a", number=1))
    more = [await events.jobs.start(restock, Restock(sku="a", number=number)) for number in (2, 3)]
    assert (waits.existing, {one.run for one in more}) == (False, {waits.run})
    go_on.set()
    await within(events.jobs.result(waits, timeout=10))
    assert seen == [0, 1]


async def test_one_that_begins_anew_takes_its_key_or_names_who_has_it(backend: Backend) -> None:
    module, restock = limited([], dedupe=BY_SKU)
    events = await backend.idle(module)
    first = await events.jobs.start(restock, Restock(sku="a"))
    await events.jobs.cancel(first)
    assert await events.jobs.retry(first)
    assert (await events.jobs.start(restock, Restock(sku="a"))).run == first.run
    await events.jobs.cancel(first)
    second = await events.jobs.start(restock, Restock(sku="a"))
    with pytest.raises(RunConflict, match=f"run {second.run} was started with its") as caught:
        await events.jobs.retry(first)
    assert caught.value.run == second.run
    await events.drain_once()
    assert await events.jobs.retry(first)


@pytest.mark.parametrize("on_collision", ["reject", "replace"])
async def test_one_that_begins_anew_takes_nobodys_place(backend: Backend, on_collision: Any) -> None:
    seen: list[int] = []
    module, restock = limited(seen, concurrency=Concurrency(key=lambda one: one.sku, on_collision=on_collision))
    events = await backend.idle(module)
    first = await events.jobs.start(restock, Restock(sku="a", number=1))
    await events.jobs.cancel(first)
    second = await events.jobs.start(restock, Restock(sku="a", number=2))
    with pytest.raises(RunConflict, match="has not ended, beside which") as caught:
        await events.jobs.retry(first)
    assert caught.value.run == second.run
    changed = await events.operations.runs.replay([first.run], actor="ann")
    assert (changed.changed, [(one.run, one.rival) for one in changed.conflicts]) == (0, [(first.run, second.run)])
    await events.drain_once()
    assert await events.jobs.retry(first)
    await events.drain_once()
    assert seen == [2, 1]


async def test_an_edited_input_has_keys_of_its_own(backend: Backend) -> None:
    module, restock = limited([], dedupe=BY_SKU, scope=lambda one: ("sku", one.sku))
    events = await backend.idle(module)
    runs = events.operations.runs
    first = await events.jobs.start(restock, Restock(sku="a"))
    await events.jobs.cancel(first)
    other = await events.jobs.start(restock, Restock(sku="b"))
    with pytest.raises(RunConflict, match=f"run {other.run} was started with its dedupe key"):
        await runs.edit_and_retry(first.run, {"sku": "b"}, actor="ann")
    assert (await events.jobs.get(first)).state == "canceled"
    assert await runs.edit_and_retry(first.run, {"sku": "c"}, actor="ann")
    assert (await events.jobs.get(first)).scope == ("sku", "c")
    assert (await events.jobs.start(restock, Restock(sku="c"))).run == first.run
    assert not (await events.jobs.start(restock, Restock(sku="a"))).existing


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_than_the_limit_are_at_work(backend: Backend, limit: int) -> None:
    module, now, most, seen = Module("shop"), Counter[str](), Counter[str](), list[int]()

    @module.job(concurrency=Concurrency(key=lambda one: one.sku, limit=limit))
    async def restock(job: JobContext[Restock]) -> None:
        sku = job.input.sku
        now[sku] += 1
        most[sku] = max(most[sku], now[sku])
        await asyncio.sleep(0.002)
        now[sku] -= 1
        seen.append(job.input.number)

    events = await backend.running(module, concurrency={"batch": 20})
    runs = await events.jobs.start_many(restock, [Restock(sku=f"s{n % 3}", number=n) for n in range(40)])
    for run in runs:
        await within(events.jobs.result(run, timeout=10))
    assert sorted(seen) == list(range(40))
    assert max(most.values()) == limit


async def test_what_sleeps_keeps_its_place_and_a_retry_competes_anew(backend: Backend) -> None:
    module, seen = Module("shop"), []

    @module.job(concurrency=Concurrency(key=lambda one: one.sku), retry=Retry(2, fixed(60, jitter=False)))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append((job.input.number, job.attempt))
        if job.input.number == 0:
            await job.sleep(600)
        if job.input.number == 1 and job.attempt == 1:
            raise ValueError("again")

    events = await backend.idle(module)
    for number in range(3):
        await events.jobs.start(restock, Restock(sku="a", number=number))
    await events.drain_once()
    assert seen == [(0, 1)]
    await backend.later(601)
    await events.drain_once()
    assert seen[1:] == [(0, 1), (1, 1), (2, 1)]
    await backend.later(61)
    await events.drain_once()
    assert seen[4:] == [(1, 2)]


async def test_above_the_limit_a_start_is_rejected(backend: Backend) -> None:
    module, restock = limited([], concurrency=Concurrency(key=lambda one: one.sku, on_collision="reject"))
    events = await backend.idle(module)
    first = await events.jobs.start(restock, Restock(sku="a"))
    with pytest.raises(JobCollisionError) as caught:
        await events.jobs.start(restock, Restock(sku="a"))
    assert caught.value.run == first.run
    await events.jobs.start(restock, Restock(sku="b"))
    await events.drain_once()
    assert not (await events.jobs.start(restock, Restock(sku="a"))).existing


async def test_above_the_limit_a_start_replaces_the_oldest(backend: Backend) -> None:
    seen: list[int] = []
    module, restock = limited(seen, concurrency=Concurrency(key=lambda one: one.sku, on_collision="replace"))
    events = await backend.idle(module)
    runs = [await events.jobs.start(restock, Restock(sku="a", number=number)) for number in range(3)]
    await events.drain_once()
    assert seen == [2]
    for run in runs[:2]:
        with pytest.raises(JobCanceled):
            await events.jobs.result(run, timeout=1)


async def test_a_start_that_is_rolled_back_replaces_nothing(backend: Backend) -> None:
    seen: list[int] = []
    module, restock = limited(seen, concurrency=Concurrency(key=lambda one: one.sku, on_collision="replace"))
    events = await backend.idle(module)
    await events.jobs.start(restock, Restock(sku="a", number=1))
    async with events.session() as session:
        await events.job_client(session).start(restock, Restock(sku="a", number=2))
        await session.rollback()
    await events.drain_once()
    assert seen == [1]


async def test_a_burst_of_the_rate_and_then_one_at_a_time(backend: Backend) -> None:
    seen: list[int] = []
    module, restock = limited(seen, rate_limit=RateLimit(3, per=3600))
    events = await backend.idle(module)
    await events.jobs.start_many(restock, [Restock(sku="a", number=number) for number in range(8)])
    await events.drain_once()
    await events.drain_once()
    assert seen == [0, 1, 2]
    for expected in (4, 5):
        await backend.later(1201)
        await events.drain_once()
        assert seen == list(range(expected))
    await backend.later(100 * 3600)  # a long rest is worth one burst
    await events.drain_once()
    assert seen == list(range(8))


async def test_the_next_one_begins_when_its_moment_has_come(backend: Backend) -> None:
    seen: list[int] = []
    module, restock = limited(seen, rate_limit=RateLimit(2, per=0.1))
    events = await backend.running(module)
    runs = await events.jobs.start_many(restock, [Restock(sku="a", number=number) for number in range(4)])
    for run in runs:
        await within(events.jobs.result(run, timeout=10))
    assert seen == [0, 1, 2, 3]
