"""Events and the clock start jobs, and operators look after them, on both back ends."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import (
    Concurrency,
    Dedupe,
    HandlerSession,
    JobContext,
    Module,
    Retry,
    RunEnded,
    Trigger,
    deterministic_id,
    fixed,
)
from fastapi_events.errors import NotFound
from fastapi_events.testing import PublishedEvents
from tests.conformance.backends import Backend, publish
from tests.delivery.stage import Placed


class Restock(BaseModel):
    """What a run is started with."""

    sku: str
    number: int = 0


def made(event: Placed) -> Restock:
    return Restock(sku=event.order, number=event.number)


def restocking(seen: list[str], **options: Any) -> tuple[Module, Any]:
    """A module, and its job, which orders start."""
    module = Module("shop")
    options.setdefault("triggers", [Trigger(Placed, map=made, when=lambda event: event.number >= 0)])

    @module.job("shop.restock", **options)
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.sku)

    return module, restock


async def test_an_event_starts_a_run_that_inherits_from_it(backend: Backend) -> None:
    seen: list[str] = []
    module, restock = restocking(seen)
    events = await backend.idle(module)
    published = await events.publish(Placed(order="a"), tenant_id="acme")
    await events.publish(Placed(order="b", number=-1))
    await events.drain_once()
    assert seen == ["a"]
    [run] = (await events.jobs.list(restock)).runs
    assert (run.correlation_id, run.tenant_id, run.state) == (published.event_id, "acme", "completed")


async def test_a_trigger_that_fails_is_a_dead_letter_of_its_name(backend: Backend) -> None:
    seen: list[str] = []
    broken = [ValueError("no supplier")]

    def unsure(event: Placed) -> Restock:
        if broken:
            raise broken[0]
        return made(event)

    module, _ = restocking(seen, triggers=[Trigger(Placed, map=unsure)])
    events = await backend.idle(module, max_attempts=2)
    await publish(events, Placed(order="b"))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.handler, dead.error_message) == ("shop.restock.shop.order.placed", "no supplier")
    broken.clear()
    await events.operations.redrive([dead.id], actor="ada")
    await events.drain_once()
    assert seen == ["b"]


@pytest.mark.parametrize("triggered", [True, False])
async def test_an_event_and_its_run_are_started_together_and_once(backend: Backend, triggered: bool) -> None:
    seen: list[str] = []
    module, restock = restocking(seen) if triggered else restocking(seen, triggers=[])
    events = await backend.idle(module)
    upstream = deterministic_id("shop", "1")
    for again in (False, True):
        async with events.session() as session:
            published, started = await events.publisher(session).and_start(
                Placed(order="a"), restock, Restock(sku="given"), event_id=upstream
            )
            await session.commit()
        assert (published.event_id, published.duplicate, started.existing) == (upstream, again, again)
    await events.drain_once()
    assert seen == ["given"]


async def test_a_schedule_starts_one_run_for_each_tick_or_one_for_all(backend: Backend) -> None:
    module, seen = Module("reports"), dict[str, list[datetime | None]](all=[], once=[])

    @module.every(timedelta(hours=1), missed="all")
    async def each(job: JobContext[None]) -> None:
        seen["all"].append(job.run.scheduled_for)

    @module.every("0 * * * *", missed="once")
    async def latest(job: JobContext[None]) -> None:
        seen["once"].append(job.run.scheduled_for)

    events = await backend.idle(module)
    await events.drain_once()
    assert seen == {"all": [], "once": []}
    await backend.later(3 * 3600 + 60)
    await events.drain_once()
    assert len(seen["all"]) == 3
    assert all(tick is not None for tick in seen["all"])
    assert len(seen["once"]) == 1
    await events.operations.pause_schedule("reports.each", actor="ada", reason="holidays")
    await backend.later(3 * 3600)
    await events.drain_once()
    assert len(seen["all"]) == 3
    await events.operations.resume_schedule("reports.each", actor="ada")
    run = await events.operations.run_schedule_now("reports.each", actor="ada")
    await events.drain_once()
    assert (seen["all"][3:], (await events.jobs.get(run)).state) == ([None], "completed")
    await backend.later(3700)
    await events.drain_once()
    assert len(seen["all"]) == 5
    actions = [one.action for one in await events.operations.actions()]
    assert sorted(actions) == ["pause_schedule", "resume_schedule", "run_schedule"]


async def test_a_job_that_is_paused_waits(backend: Backend) -> None:
    seen: list[str] = []
    module, restock = restocking(seen)
    events = await backend.idle(module)
    assert await events.operations.pause_job("shop.restock", actor="ada")
    started = await events.jobs.start(restock, Restock(sku="a"))
    await events.drain_once()
    assert (seen, (await events.jobs.get(started)).state) == ([], "pending")
    assert await events.operations.resume_job("shop.restock", actor="ada")
    await events.drain_once()
    assert seen == ["a"]


async def test_operators_cancel_retry_replay_and_edit_runs(backend: Backend) -> None:
    module, seen, broken = Module("shop"), list[str](), [True]

    @module.job(retry=Retry(1))
    async def restock(job: JobContext[Restock]) -> str:
        seen.append(job.input.sku)
        if broken:
            raise ValueError("no supplier")
        return job.input.sku

    events = await backend.idle(module)
    runs = events.operations.runs
    failed = await events.jobs.start(restock, Restock(sku="a"))
    unwanted = await events.jobs.start(restock, Restock(sku="b"), delay=60)
    await events.drain_once()
    changed = await runs.cancel([failed.run, unwanted.run], actor="ann", reason="wrong supplier")
    assert (changed.asked, changed.changed) == (2, 1)
    assert (await events.jobs.get(unwanted)).note == "wrong supplier"
    with pytest.raises(NotFound):
        await runs.cancel([uuid4()], actor="ann")
    broken.clear()
    soon = datetime.now(UTC) + timedelta(seconds=5)
    changed = await runs.retry_matching(job="shop.restock", finished_before=soon, actor="ann")
    assert (changed.asked, changed.changed) == (1, 1)
    await events.drain_once()
    assert await events.jobs.result(failed, timeout=1) == "a"
    await runs.edit_and_retry(unwanted.run, {"sku": "c"}, actor="ann")
    await events.drain_once()
    assert await events.jobs.result(unwanted, timeout=1) == "c"
    assert (await runs.replay([failed.run], actor="ann")).changed == 1
    await events.drain_once()
    assert seen == ["a", "a", "c", "a"]
    actions = [one.action for one in await events.operations.actions()]
    assert sorted(actions) == ["cancel_runs", "edit_run", "replay_runs", "retry_runs"]


async def test_ticks_and_runs_by_hand_meet_the_limits_of_the_job(backend: Backend) -> None:
    module = Module("reports")

    @module.every(timedelta(hours=1), missed="all")
    @module.job("reports.load", dedupe=Dedupe(), retry=Retry(2, fixed(100 * 3600, jitter=False)))
    async def load(job: JobContext[None]) -> None:
        if job.attempt == 1:
            raise ValueError("waits for long")

    events = await backend.idle(module)
    await backend.later(2 * 3600 + 60)
    await events.drain_once()
    [run] = (await events.jobs.list(load)).runs
    assert run.state == "pending"
    assert await events.operations.run_schedule_now("reports.load", actor="ada") == run.id
    [action] = await events.operations.actions()
    assert action.details["existing"] is True
    await events.jobs.cancel(run.id)
    assert await events.operations.run_schedule_now("reports.load", actor="ada") != run.id


async def test_the_end_of_a_run_is_an_audit_event_where_that_is_wanted(backend: Backend) -> None:
    module = Module("shop")

    @module.job(announce=True, retry=Retry(1), scope=lambda sku: ("sku", sku))
    async def restock(job: JobContext[str]) -> None:
        if job.input == "b":
            raise ValueError("no supplier")

    @module.job(announce=True)
    async def pay(job: JobContext[None], session: HandlerSession) -> None: ...

    events = await backend.idle(module)
    runs = [await events.jobs.start(restock, sku, tags=["spring"]) for sku in "abc"]
    await events.jobs.cancel(runs[2], "not needed")
    runs.append(await events.jobs.start(pay, None))
    await events.drain_once()
    ends = {one.event.run_id: one for one in await PublishedEvents(events).all(RunEnded)}
    told = [(ends[run.run].event.state, ends[run.run].event.job, ends[run.run].event.note) for run in runs]
    assert told == [
        ("completed", "shop.restock", None), ("failed", "shop.restock", None),
        ("canceled", "shop.restock", "not needed"), ("completed", "shop.pay", None),
    ]  # fmt: skip
    first = ends[runs[0].run]
    assert (first.event.scope, first.event.scope_id, first.event.tags) == ("sku", "a", ("spring",))
    assert (first.correlation_id, first.causation_id, first.key) == (
        runs[0].run, runs[0].run, f"/run/{runs[0].run}",
    )  # fmt: skip


async def test_keys_of_limits_are_each_tenants_own(backend: Backend) -> None:
    module = Module("shop")

    @module.job(dedupe=Dedupe(), concurrency=Concurrency(key=lambda sku: sku, on_collision="reject"))
    async def restock(job: JobContext[str]) -> None: ...

    events = await backend.idle(module)
    first = await events.jobs.start(restock, "a", tenant_id="acme")
    other = await events.jobs.start(restock, "a", tenant_id="other")
    assert not other.existing
    assert (await events.jobs.start(restock, "a", tenant_id="acme")).run == first.run
