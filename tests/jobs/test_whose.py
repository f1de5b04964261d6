"""Whose a run is: its application's where runs are listed, its tenant's where one is known, its worker's at work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastapi_events import Events, JobContext, Module, Retry, Started, tenant
from fastapi_events.errors import RunNotFound
from tests.delivery.stage import Stage, until, within

SCOPE = ("account", "7")
ASKED: dict[str, Callable[[Events, Started[Any]], Awaitable[Any]]] = {
    "get": lambda events, run: events.jobs.get(run),
    "cancel": lambda events, run: events.jobs.cancel(run),
    "reschedule": lambda events, run: events.jobs.reschedule(run, delay=0),
    "signal": lambda events, run: events.jobs.signal(run, "go on"),
    "retry": lambda events, run: events.jobs.retry(run),
    "replay": lambda events, run: events.jobs.replay(run, "scratch"),
    "result": lambda events, run: events.jobs.result(run, timeout=0),
}


def working(name: str = "shop.work") -> Module:
    module = Module(name.removesuffix(".work"))

    @module.job(name, scope=lambda _: SCOPE)
    async def work(job: JobContext[None]) -> None: ...

    return module


async def start(events: Events, **options: Any) -> Started[Any]:
    [job] = events.registry.jobs.values()
    return await events.jobs.start(job, None, **options)


async def test_a_thing_of_another_application_is_not_listed(stage: Stage) -> None:
    shop, bank = await stage.idle(working(), group="shop"), await stage.idle(working("bank.work"), group="bank")
    mine, other = await start(shop), await start(bank)
    for events, run in ((shop, mine), (bank, other)):
        assert [one.id for one in (await events.jobs.list(scope=SCOPE)).runs] == [run.run]


async def test_a_thing_of_another_tenant_is_not_listed(stage: Stage) -> None:
    events = await stage.idle(working())
    runs = {name: (await start(events, tenant_id=name)).run for name in ("acme", "nordwind", None)}
    for name in ("acme", "nordwind"):
        with tenant(name):
            assert [one.id for one in (await events.jobs.list(scope=SCOPE)).runs] == [runs[name]]
    assert {one.id for one in (await events.jobs.list(scope=SCOPE)).runs} == set(runs.values())


@pytest.mark.parametrize("asked", ASKED)
async def test_a_run_of_another_tenant_is_not_there(stage: Stage, asked: str) -> None:
    events = await stage.idle(working())
    mine = await start(events, tenant_id="acme", delay=60)
    for whose in ("nordwind", None):
        run = await start(events, tenant_id=whose, delay=60)
        with tenant("acme"), pytest.raises(RunNotFound, match=f"There is no run {run.run}"):
            await ASKED[asked](events, run)
        assert (await events.jobs.get(run)).state == "pending"
    assert await stage.value("SELECT count(*) FROM events.run_signal") == 0
    with tenant("acme"):
        assert (await events.jobs.get(mine)).state == "pending"
        assert await events.jobs.cancel(mine)


async def test_who_has_lost_a_run_does_not_say_how_far_it_is(stage: Stage) -> None:
    module, begun, go_on, seen = Module("shop"), asyncio.Event(), asyncio.Event(), list[str]()

    @module.job(retry=Retry(1))
    async def work(job: JobContext[None]) -> None:
        await job.progress(1, 10)
        begun.set()
        await go_on.wait()
        try:
            await job.progress(2, 10)
            seen.append("went on")
        finally:
            seen.append("left")

    events = await stage.running(module, heartbeat=2.0)
    await events.jobs.start(work, None)
    await within(begun.wait())
    await stage.rows("UPDATE events.run_queue SET token = token + 1, worker_id = gen_random_uuid()")
    go_on.set()
    await until(lambda: seen)
    assert seen == ["left"]
    assert await stage.value("SELECT done FROM events.run_progress") == 1
