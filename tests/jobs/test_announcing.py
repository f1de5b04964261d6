"""The end of a run is an audit event where that is wanted: in the transaction that ends it, whoever does."""

import asyncio
from typing import Any

import pytest

from fastapi_events import (
    Concurrency,
    Discard,
    HandlerSession,
    JobContext,
    Module,
    Retry,
    RunEnded,
    Trigger,
    fixed,
)
from fastapi_events.errors import AuditEventTriggerError, ContradictoryOptions
from tests.delivery.stage import Stage, until, within

HOWS = ("well", "twice", "session", "fails", "late", "discarded")


def announcing(**given: Any) -> Module:
    module = Module("shop")

    async def gone() -> None:
        await asyncio.sleep(60)

    @module.job("shop.work", retry=Retry(2, fixed(0)), timeout=0.3, scope=lambda how: ("sku", how), **given)
    async def work(job: JobContext[str]) -> str:
        if job.input == "twice" and job.attempt == 1:
            raise ValueError("not yet")
        if job.input == "fails":
            raise LookupError("no supplier")
        if job.input == "late":
            await gone()
        if job.input == "discarded":
            raise Discard("not wanted")
        return job.input

    @module.job("shop.careful", retry=Retry(1), **given)
    async def careful(job: JobContext[bool], session: HandlerSession) -> None:
        if job.input:
            raise ValueError("failed")

    return module


async def ends(events: Any) -> list[dict[str, Any]]:
    page = await events.observe.events("tier:audit")
    found = [await events.observe.event(event.id) for event in reversed(page.events)]
    return [RunEnded.model_validate_json(event.payload).model_dump() | {"event": event} for event in found]


async def test_every_end_is_an_event(stage: Stage) -> None:
    events = await stage.idle(announcing(announce=True))
    jobs = events.registry.jobs
    runs = {how: await events.jobs.start(jobs["shop.work"], how, tags=["a"]) for how in HOWS if how != "session"}
    runs |= {name: await events.jobs.start(jobs["shop.careful"], name == "rolled") for name in ("session", "rolled")}
    canceled = await events.jobs.start(jobs["shop.work"], "canceled", delay=60)
    await events.jobs.cancel(canceled, reason="too late")
    await events.drain_once()
    told = {str(end["run_id"]): end for end in await ends(events)}
    assert len(told) == len(runs) + 1
    states = {how: (end["state"], end["reason"], end["error_type"], end["attempts"]) for how, end in (
        (how, told[str(run.run)]) for how, run in runs.items()
    )}  # fmt: skip
    assert states == {
        "well": ("completed", None, None, 1), "twice": ("completed", None, None, 2),
        "session": ("completed", None, None, 1), "fails": ("failed", "max_attempts", "LookupError", 2),
        "late": ("timed_out", "timed_out", "TimeoutError", 2), "discarded": ("canceled", None, None, 1),
        "rolled": ("failed", "max_attempts", "ValueError", 1),
    }  # fmt: skip
    assert (told[str(canceled.run)]["state"], told[str(canceled.run)]["note"]) == ("canceled", "too late")
    end = told[str(runs["well"].run)]
    run = await events.observe.run(runs["well"].run)
    assert (end["job"], end["scope"], end["scope_id"], end["tags"]) == ("shop.work", "sku", "well", ("a",))
    assert (end["source"], end["started_at"], end["redrives"]) == ("manual", run.created_at, 0)
    event = end["event"]
    assert (event.aggregate, event.aggregate_id, event.causation_id) == ("run", str(run.id), run.id)
    assert event.correlation_id == run.correlation_id


async def test_nobody_is_told_unless_asked_to(stage: Stage) -> None:
    for given, number in (({}, 0), ({"announce_runs": True}, 1)):
        events = await stage.idle(announcing(), **given)
        await events.jobs.start(events.registry.jobs["shop.work"], "well")
        await events.drain_once()
        assert len(await ends(events)) == number
    events = await stage.idle(announcing(announce=False), announce_runs=True)
    await events.jobs.start(events.registry.jobs["shop.work"], "well")
    await events.drain_once()
    assert len(await ends(events)) == 1


@pytest.mark.parametrize("pool", ["batch", "of_others"])
async def test_children_and_whoever_is_replaced(stage: Stage, pool: str) -> None:
    module = Module("shop")

    @module.job(announce=True, pool=pool)
    async def child(job: JobContext[None]) -> None:
        await job.sleep(3600)

    @module.job()
    async def parent(job: JobContext[None]) -> None:
        await job.spawn(child, None)

    @module.job(concurrency=Concurrency(on_collision="replace"), announce=True)
    async def newest(job: JobContext[int]) -> None:
        pass

    events = await stage.idle(module, pools=["batch"])
    above = await events.jobs.start(parent, None)
    first = await events.jobs.start(newest, 1, delay=60)
    second = await events.jobs.start(newest, 2)
    await events.drain_once()
    told = {(end["job"], end["state"]): end for end in await ends(events)}
    assert set(told) == {("shop.child", "canceled"), ("shop.newest", "canceled"), ("shop.newest", "completed")}
    assert told["shop.child", "canceled"]["parent_id"] == above.run
    assert told["shop.newest", "canceled"]["run_id"] == first.run
    assert told["shop.newest", "completed"]["run_id"] == second.run


async def test_broadcast_handlers_hear_of_it_at_once(stage: Stage) -> None:
    module, heard = announcing(announce=True), list[tuple[str, str]]()

    @module.on(RunEnded, broadcast=True)
    async def hear(event: RunEnded) -> None:
        heard.append((event.job, event.state))

    events = await stage.running(module, poll_interval=30)
    jobs = events.registry.jobs
    for job, given in (("shop.work", "well"), ("shop.careful", False)):
        run = await events.jobs.start(jobs[job], given)
        await within(events.jobs.result(run, timeout=10))
    await until(lambda: len(heard) == 2)
    assert sorted(heard) == [("shop.careful", "completed"), ("shop.work", "completed")]


async def test_who_has_lost_a_run_tells_nothing(stage: Stage) -> None:
    module, go_on, begun = Module("shop"), asyncio.Event(), asyncio.Event()

    @module.job(announce=True)
    async def work(job: JobContext[None]) -> None:
        begun.set()
        await go_on.wait()

    events = await stage.running(module)
    await events.jobs.start(work, None)
    await within(begun.wait())
    await stage.rows("UPDATE events.run_queue SET token = token + 1")
    go_on.set()
    await until(lambda: events.runtime.counters.stale_settles == 1)
    assert await ends(events) == []


async def test_it_starts_nothing(stage: Stage) -> None:
    module = Module("shop")
    with pytest.raises(AuditEventTriggerError, match="RunEnded is an audit event"):

        @module.job(triggers=[Trigger(RunEnded, map=lambda end: end.job)])
        async def work(job: JobContext[str]) -> None: ...

    with pytest.raises(AuditEventTriggerError):

        @module.on(RunEnded)
        async def handle(event: RunEnded) -> None: ...

    @module.job(retry=Retry(1))
    async def waits(job: JobContext[None]) -> None:
        await job.wait_for(RunEnded)

    events = await stage.idle(module)
    run = await events.jobs.start(waits, None)
    await events.drain_once()
    found = await events.observe.run(run.run)
    assert (found.state, found.error_type) == ("failed", "fastapi_events.errors.AuditEventTriggerError")
    assert "wait_for()" in found.error_message


def test_it_is_yes_or_no() -> None:
    with pytest.raises(ContradictoryOptions, match="announce=1 is neither True nor False"):
        announcing(announce=1)
