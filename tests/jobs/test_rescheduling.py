"""Runs that have not begun are put off or brought forward, one by one or by what they belong to; so are cancels."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from fastapi_events import Concurrency, JobContext, Module, Retry, fixed, tenant
from fastapi_events.errors import ContradictoryOptions, InvalidInput, RunNotFound
from tests.delivery.stage import SLOW, Stage, until, within


def module_of(done: list[int], **given: Any) -> Module:
    module = Module("shop")

    @module.job("shop.work", scope=lambda number: ("account", number % 2), retry=Retry(2, fixed(3600)), **given)
    async def work(job: JobContext[int]) -> None:
        done.append(job.input)
        if job.input == 99:
            raise ValueError("not yet")

    return module


async def test_a_run_is_brought_forward_at_once(stage: Stage) -> None:
    done: list[int] = []
    events = await stage.running(module_of(done), **SLOW)
    run = await events.jobs.start(events.registry.jobs["shop.work"], 1, delay=3600)
    assert await events.jobs.reschedule(run, delay=0)
    assert await within(events.jobs.result(run, timeout=10)) is None
    assert done == [1]
    assert not await events.jobs.reschedule(run, delay=0)  # it has ended


async def test_a_run_is_put_off(stage: Stage) -> None:
    done: list[int] = []
    events = await stage.idle(module_of(done))
    work = events.registry.jobs["shop.work"]
    first, second, tried = [await events.jobs.start(work, number) for number in (1, 2, 99)]
    at = datetime.now(UTC) + timedelta(days=2)
    assert await events.jobs.reschedule(first, run_at=at)
    assert (await events.jobs.get(first)).due_at == at
    await events.drain_once()
    assert sorted(done) == [2, 99]
    assert not await events.jobs.reschedule(tried, delay=0)  # it has begun: its back-off goes on
    assert not await events.jobs.reschedule(second, delay=5)
    await stage.rows("UPDATE events.run_queue SET crashes = 1 WHERE attempts = 0")
    assert not await events.jobs.reschedule(first, delay=0)  # a process has vanished with it: it has begun, too
    await stage.rows("UPDATE events.run_queue SET crashes = 0")
    assert await events.jobs.reschedule(first, delay=timedelta(0))
    await events.drain_once()
    assert sorted(done) == [1, 2, 99]


async def test_all_of_one_thing(stage: Stage) -> None:
    done: list[int] = []
    events = await stage.idle(module_of(done))
    work, jobs = events.registry.jobs["shop.work"], events.jobs
    await jobs.start_many(work, list(range(10)), delay=60)
    assert await jobs.reschedule_scope(("account", 1), delay=0) == 5
    await events.drain_once()
    assert sorted(done) == [1, 3, 5, 7, 9]
    assert await jobs.reschedule_scope(("account", 1), delay=0) == 0
    assert await jobs.cancel_scope(("account", "0"), "closed") == 5
    assert await jobs.cancel_scope(("account", 0)) == 0
    page = await jobs.list(scope=("account", 0))
    assert {(run.state, run.note) for run in page.runs} == {("canceled", "closed")}


async def test_of_the_tenant_in_whose_name_it_is_asked(stage: Stage) -> None:
    events = await stage.idle(module_of([]), multi_tenant=True)
    work, jobs = events.registry.jobs["shop.work"], events.jobs
    for name in ("acme", "globex"):
        await jobs.start(work, 1, delay=60, tenant_id=name)
    with tenant("acme"):
        assert await jobs.reschedule_scope(("account", 1), delay=90) == 1
        assert await jobs.cancel_scope(("account", 1)) == 1
    page = await jobs.list(scope=("account", 1))
    assert {(run.tenant_id, run.state) for run in page.runs} == {("acme", "canceled"), ("globex", "pending")}


async def test_who_is_put_off_gives_up_its_place(stage: Stage) -> None:
    module, done = Module("shop"), list[int]()
    begun, go_on = asyncio.Event(), asyncio.Event()

    @module.job(concurrency=Concurrency(limit=1))
    async def work(job: JobContext[int]) -> None:
        if job.input == 0:
            begun.set()
            await go_on.wait()
        done.append(job.input)

    events = await stage.running(module)
    runs = [await events.jobs.start(work, number) for number in range(3)]
    await within(begun.wait())
    assert await events.jobs.reschedule(runs[1], delay=3600)
    go_on.set()
    await within(events.jobs.result(runs[2], timeout=10))
    assert await events.jobs.reschedule(runs[1], delay=0)
    await within(events.jobs.result(runs[1], timeout=10))
    assert done == [0, 2, 1]
    admitted = await stage.idle(module, group="other")
    ready = await admitted.jobs.start(work, 3)
    await stage.rows("UPDATE events.run_queue SET state = 'r', gate = NULL, holds = true")  # as it has passed
    behind = await admitted.jobs.start(work, 4)
    assert await admitted.jobs.reschedule(ready, delay=3600)
    await admitted.drain_once()
    assert (await admitted.jobs.get(behind)).state == "completed"
    assert (await admitted.jobs.get(ready)).state == "pending"
    await until(lambda: done == [0, 2, 1, 4])


async def test_what_cannot_be(stage: Stage) -> None:
    events = await stage.idle(module_of([]))
    jobs = events.jobs
    run = await jobs.start(events.registry.jobs["shop.work"], 1, delay=60)
    with pytest.raises(ContradictoryOptions, match="neither run_at= nor delay= says when"):
        await jobs.reschedule(run)
    with pytest.raises(ContradictoryOptions, match="both say when"):
        await jobs.reschedule(run, delay=1, run_at=datetime.now(UTC))
    with pytest.raises(InvalidInput, match=r"jobs\.reschedule\(\): delay=-1"):
        await jobs.reschedule(run, delay=-1)
    with pytest.raises(InvalidInput, match=r"jobs\.reschedule_scope\(\): scope 'account'"):
        await jobs.reschedule_scope("account", delay=1)
    with pytest.raises(InvalidInput, match="takes a pair"):
        await jobs.cancel_scope(None)
    with pytest.raises(RunNotFound):
        await jobs.reschedule(uuid4(), delay=1)
