"""What operators do to runs and jobs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import JobContext, Module, Retry
from fastapi_events.errors import InvalidInput, NotFound, OperationRefused
from tests.delivery.stage import SLOW, Stage, until, within


class Order(BaseModel):
    """What a run is given."""

    number: int


class Shop:
    """Jobs that note what they do."""

    def __init__(self, *, fails: int = 0, pool: str = "batch", **options: Any) -> None:
        self.module, self.calls, self.fails = Module("shop"), list[str](), fails
        self.begun, self.hold = asyncio.Event(), asyncio.Event()

        @self.module.job(retry=Retry(1), pool=pool, **options)
        async def work(job: JobContext[Order]) -> int:
            self.calls.append("work")
            await job.step("first", self.first)
            await job.checkpoint()
            await job.step("second", self.second)
            await job.step("third", self.third)
            if self.fails:
                self.fails -= 1
                raise ValueError("not yet")
            return job.input.number

        @self.module.job()
        async def stay(job: JobContext[None]) -> None:
            self.begun.set()
            await self.hold.wait()

        self.work, self.stay = work, stay

    async def first(self) -> None:
        self.calls.append("first")

    async def second(self) -> None:
        self.calls.append("second")

    async def third(self) -> None:
        self.calls.append("third")


async def newest(events: Any) -> Any:
    [action] = await events.operations.actions(limit=1)
    return action


async def test_runs_are_cancelled_with_a_record_in_the_same_breath(stage: Stage) -> None:
    shop = Shop()
    events = await stage.running(shop.module, **SLOW)
    at_work = await events.jobs.start(shop.stay, None)
    await within(shop.begun.wait())
    later = await events.jobs.start(shop.work, Order(number=1), delay=3600, tenant_id="acme")
    ended = await events.jobs.start(shop.work, Order(number=2))
    await within(events.jobs.result(ended, timeout=10))
    ids = [at_work.run, later.run, str(ended.run)]
    changed = await events.operations.runs.cancel(ids, actor="ann", reason="wrong supplier")
    assert (changed.asked, changed.changed) == (3, 2)
    for started in (at_work, later):
        await until(lambda started=started: is_state(events, started, "canceled"))
    run = await events.observe.run(later.run)
    assert run is not None
    assert run.note == "wrong supplier"
    action = await newest(events)
    assert (action.action, action.actor, action.target) == ("cancel_runs", "ann", "3 runs")
    assert (action.details["reason"], action.details["asked"]) == ("wrong supplier", 3)
    assert set(action.details["changed"]) == {str(at_work.run), str(later.run)}
    row = (await stage.rows("SELECT tenants FROM events.operator_action"))[0]
    assert set(row["tenants"]) == {"", "acme"}


async def is_state(events: Any, started: Any, state: str) -> bool:
    return (await events.jobs.get(started)).state == state


async def test_runs_are_retried_and_their_steps_stay_done(stage: Stage) -> None:
    shop = Shop(fails=1)
    events = await stage.running(shop.module, **SLOW)
    started = await events.jobs.start(shop.work, Order(number=3))
    await until(lambda: is_state(events, started, "failed"))
    changed = await events.operations.runs.retry([started.run], actor="ann", reason="mended")
    assert (changed.asked, changed.changed) == (1, 1)
    assert await within(events.jobs.result(started, timeout=10)) == 3
    assert shop.calls == ["work", "first", "second", "third", "work"]
    assert (await newest(events)).target == str(started.run)
    assert (await events.operations.runs.retry([started.run], actor="ann")).changed == 0


async def test_all_that_match_are_retried_the_first_first(stage: Stage) -> None:
    shop = Shop(fails=4)
    events = await stage.idle(shop.module)
    runs = await events.jobs.start_many(shop.work, [Order(number=number) for number in range(4)])
    await events.drain_once()
    now = datetime.now(UTC) + timedelta(seconds=5)
    retry = events.operations.runs.retry_matching
    before = datetime.now(UTC) - timedelta(days=1)
    assert (await retry(job="shop.work", finished_before=before, actor="ann")).asked == 0
    assert (await retry(job="shop.stay", finished_before=now, actor="ann")).asked == 0
    assert (await retry(job="shop.work", state="canceled", finished_before=now, actor="ann")).asked == 0
    first = await stage.rows("SELECT run_id FROM events.run_end ORDER BY finished_at LIMIT 3")
    changed = await retry(job="shop.work", finished_before=now, limit=3, actor="ann")
    assert (changed.asked, changed.changed) == (3, 3)
    pending = {run.id for run in (await events.observe.runs("state:pending")).runs}
    assert pending == {row["run_id"] for row in first}
    assert (await retry(state="failed", finished_before=now, actor="ann")).changed == 1
    await events.drain_once()
    assert [(await events.jobs.get(run)).state for run in runs] == ["completed"] * 4


FIRST = ["work", "first", "second", "third"]


@pytest.mark.parametrize(
    ("start", "again"),
    [
        ("scratch", FIRST), ("last_step", ["work", "third"]), ("last_checkpoint", ["work", "second", "third"]),
        (None, ["work", "third"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["client", "operator"])
async def test_an_ended_run_begins_again_from_where_it_is_said(
    stage: Stage, start: Any, again: list[str], how: str
) -> None:
    shop = Shop(replay_from="last_step")
    events = await stage.idle(shop.module)
    started = await events.jobs.start(shop.work, Order(number=3))
    await events.drain_once()
    assert await is_state(events, started, "completed")
    if how == "client":
        assert await events.jobs.replay(started, from_=start)
        assert not await events.jobs.replay(started, from_=start)
    else:
        runs = events.operations.runs
        assert (await runs.replay([started.run], from_=start, actor="ann")).changed == 1
        assert (await runs.replay([started.run], from_=start, actor="ann")).changed == 0
        assert (await newest(events)).action == "replay_runs"
    await events.drain_once()
    assert shop.calls == FIRST + again
    assert await within(events.jobs.result(started, timeout=10)) == 3


async def test_without_a_checkpoint_and_without_a_step(stage: Stage) -> None:
    module, calls = Module("shop"), []

    async def note() -> None:
        calls.append("note")

    @module.job()
    async def stepped(job: JobContext[None]) -> None:
        await job.step("note", note)
        await job.sleep(0)

    @module.job()
    async def plain(job: JobContext[None]) -> None:
        calls.append("plain")

    events = await stage.idle(module)
    runs = [await events.jobs.start(stepped, None), await events.jobs.start(plain, None)]
    await events.drain_once()
    for run in runs:
        assert await events.jobs.replay(run, from_="last_checkpoint")
    await events.drain_once()
    assert sorted(calls) == ["note", "note", "plain", "plain"]
    assert await events.jobs.replay(runs[1], from_="last_step")
    await events.drain_once()
    assert calls.count("plain") == 3


async def test_a_place_that_there_is_not_is_refused(stage: Stage) -> None:
    shop = Shop()
    events = await stage.idle(shop.module)
    started = await events.jobs.start(shop.work, Order(number=1))
    await events.drain_once()
    wrong: Any = "the start"
    with pytest.raises(InvalidInput, match="from_='the start': a run begins again from scratch, last_step or last_ch"):
        await events.jobs.replay(started, from_=wrong)
    with pytest.raises(OperationRefused, match="from_='the start'"):
        await events.operations.runs.replay([started.run], from_=wrong, actor="ann")
    assert shop.calls == FIRST


async def test_another_input_and_the_old_one_is_kept(stage: Stage) -> None:
    shop = Shop(fails=2)
    events = await stage.idle(shop.module)
    started = await events.jobs.start(shop.work, Order(number=1))
    await events.drain_once()
    edit = events.operations.runs.edit_and_retry
    assert await edit(started.run, {"number": 2}, actor="ann", reason="typo")
    action = await newest(events)
    assert (action.action, action.target, action.details["job"]) == ("edit_run", str(started.run), "shop.work")
    assert "number" not in str(action.details), "whoever reads the record may not read inputs"
    assert not await edit(started.run, Order(number=9), actor="ann"), "it has not ended"
    await events.drain_once()
    assert await edit(str(started.run), Order(number=3), from_="scratch", actor="bob")
    await events.drain_once()
    assert await within(events.jobs.result(started, timeout=10)) == 3
    assert shop.calls == [*FIRST, "work", *FIRST]
    run = await events.observe.run(started.run)
    assert run is not None
    assert [(edited.actor, edited.input) for edited in run.edits] == [
        ("ann", '{"number": 1}'),
        ("bob", '{"number": 2}'),
    ]
    assert not await edit(started.run, Order(number=9), actor="ann"), "it has succeeded"
    assert (await events.observe.run(started.run)).input == '{"number": 3}'


async def test_an_input_that_the_job_does_not_take_changes_nothing(stage: Stage) -> None:
    shop = Shop(fails=1)
    events, other = await stage.idle(shop.module), await stage.idle()
    started = await events.jobs.start(shop.work, Order(number=1))
    await events.drain_once()
    for value, says in (({"number": "x"}, "number"), ({"x": 1}, "number"), (object(), "JSON"), (float("nan"), "JSON")):
        with pytest.raises(InvalidInput, match=says):
            await events.operations.runs.edit_and_retry(started.run, value, actor="ann")
    with pytest.raises(OperationRefused, match=r"does not have the job 'shop.work'.*where the application has it"):
        await other.operations.runs.edit_and_retry(started.run, {"number": 1}, actor="ann")
    assert await is_state(events, started, "failed")
    assert await events.operations.actions() == []


async def test_what_is_not_there_is_refused_and_nothing_is_changed(stage: Stage) -> None:
    shop = Shop(fails=2)
    events, elsewhere = await stage.idle(shop.module), await stage.idle(Shop().module, group="other")
    mine, hers = [
        await events.jobs.start(shop.work, Order(number=1), tenant_id=tenant) for tenant in ("acme", "globex")
    ]
    await events.drain_once()
    acme = events.operations.within("acme").runs
    for runs, ids in (
        (events.operations.runs, [mine.run, uuid4()]), (acme, [mine.run, hers.run]),
        (elsewhere.operations.runs, [mine.run]),
    ):  # fmt: skip
        for act in (runs.cancel, runs.retry, runs.replay):
            with pytest.raises(NotFound, match=rf"There is no run {ids[-1]}. Nothing was changed"):
                await act(ids, actor="ann")
        with pytest.raises(NotFound):
            await runs.edit_and_retry(ids[-1], {"number": 1}, actor="ann")
    assert [await is_state(events, one, "failed") for one in (mine, hers)] == [True, True]
    assert await stage.value("SELECT count(*) FROM events.operator_action") == 0
    now = datetime.now(UTC) + timedelta(seconds=5)
    assert (await acme.retry_matching(finished_before=now, actor="ann")).changed == 1
    assert [await is_state(events, one, "pending") for one in (mine, hers)] == [True, False]
    assert len(await events.operations.within("acme").actions()) == 1
    assert await events.operations.within("globex").actions() == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"run_ids": ["7"], "actor": "ann"}, "'7' is no run id, which is a UUID"),
        ({"run_ids": str(uuid4()), "actor": "ann"}, "is not a list of run ids. Put it in brackets"),
        ({"run_ids": [uuid4()] * 10_001, "actor": "ann"}, "10,001 runs at once"),
        ({"run_ids": [], "actor": " "}, "actor is empty"),
    ],
)
async def test_what_makes_no_sense_is_refused(stage: Stage, given: dict[str, Any], says: str) -> None:
    events = await stage.idle(Shop().module)
    for act in (events.operations.runs.cancel, events.operations.runs.retry, events.operations.runs.replay):
        with pytest.raises(OperationRefused, match=says):
            await act(**given)


async def test_what_matching_cannot_mean(stage: Stage) -> None:
    events = await stage.idle(Shop().module)
    retry, now = events.operations.runs.retry_matching, datetime.now(UTC)
    for given, says in (
        ({"limit": 0}, "limit=0: one action changes 1 to 10,000 runs"),
        ({"state": "completed"}, "state='completed': runs are retried that are failed, timed_out, canceled"),
        ({"job": "shop.wrok"}, "This group has no job 'shop.wrok'. Did you mean 'shop.work'"),
        ({"finished_before": datetime(2026, 1, 31)}, "no time zone"),  # noqa: DTZ001 - that is it
        ({"actor": ""}, "actor is empty"),
    ):  # fmt: skip
        wanted: dict[str, Any] = {"finished_before": now, "actor": "ann", **given}
        with pytest.raises(OperationRefused, match=says):
            await retry(**wanted)


async def test_a_paused_job_begins_nowhere_until_it_is_resumed(stage: Stage) -> None:
    """Polling that nobody waits for: the other process has heard of it."""
    shop, other = Shop(), Shop()
    slow = {**SLOW, "lease": 60.0, "heartbeat": 20.0}
    here, there = await stage.running(shop.module, **slow), await stage.running(other.module, **slow)
    assert await here.operations.pause_job("shop.work", actor="ann", reason="supplier is down")
    assert not await here.operations.pause_job("shop.work", actor="ann")
    for events in (here, there):
        await until(lambda events=events: events.runtime.jobs.plan.jobs["shop.work"].paused)
    started = await here.jobs.start(shop.work, Order(number=1))
    other_job = await here.jobs.start(shop.stay, None)
    await until(lambda: shop.begun.is_set() or other.begun.is_set(), "another job goes on")
    assert shop.calls + other.calls == []
    restock = next(job for job in await here.observe.jobs() if job.name == "shop.work")
    assert restock.paused_at is not None
    assert await here.operations.resume_job("shop.work", actor="bob")
    assert not await here.operations.resume_job("shop.work", actor="bob")
    assert await within(there.jobs.result(started, timeout=10)) == 1
    actions = [(one.action, one.actor, one.details["changed"]) for one in await here.operations.actions()]
    assert actions == [
        ("resume_job", "bob", False), ("resume_job", "bob", True),
        ("pause_job", "ann", False), ("pause_job", "ann", True),
    ]  # fmt: skip
    for one in (shop, other):
        one.hold.set()
    await within(here.jobs.result(other_job, timeout=10))


async def test_without_notifications_a_pause_is_known_within_a_heartbeat(stage: Stage) -> None:
    shop = Shop()
    events = await stage.running(shop.module, notify="off")
    async with events.connect() as operators:
        assert await operators.operations.pause_job("shop.work", actor="ann")
        await until(lambda: events.runtime.jobs.plan.jobs["shop.work"].paused)
        started = await events.jobs.start(shop.work, Order(number=1))
        assert await operators.operations.resume_job("shop.work", actor="ann")
    assert await within(events.jobs.result(started, timeout=10)) == 1


async def test_a_pause_outlasts_a_restart(stage: Stage) -> None:
    shop = Shop()
    events = await stage.idle(shop.module)
    await events.operations.pause_job("shop.work", actor="ann")
    again = await stage.running(Shop().module)
    await again.jobs.start(shop.work, Order(number=1))
    assert await again.drain_once() == 0
    assert again.runtime.jobs.plan.jobs["shop.work"].paused


async def test_pauses_of_nothing_and_by_tenants_are_refused(stage: Stage) -> None:
    events = await stage.idle(Shop().module)
    for act in (events.operations.pause_job, events.operations.resume_job):
        with pytest.raises(OperationRefused, match=r"no job 'shop.wok'. Did you mean 'shop.work'"):
            await act("shop.wok", actor="ann")
        with pytest.raises(OperationRefused, match="actor is empty"):
            await act("shop.work", actor="")
    with pytest.raises(OperationRefused, match="it would hold for everybody's runs"):
        await events.operations.within("acme").pause_job("shop.work", actor="ann")
    assert await events.operations.actions() == []


async def test_an_operator_from_outside_reaches_the_processes_at_work(stage: Stage) -> None:
    """Polling that nobody waits for: they were told."""
    shop = Shop(fails=1)
    events = await stage.running(shop.module, **SLOW)
    failed = await events.jobs.start(shop.work, Order(number=1))
    await until(lambda: is_state(events, failed, "failed"))
    at_work = await events.jobs.start(shop.stay, None)
    await within(shop.begun.wait())
    async with stage.make(shop.module).connect() as operators:
        await operators.operations.runs.cancel([at_work.run], actor="ann")
        await operators.operations.runs.retry([failed.run], actor="ann")
    assert await within(events.jobs.result(failed, timeout=10)) == 1
    await until(lambda: is_state(events, at_work, "canceled"))
