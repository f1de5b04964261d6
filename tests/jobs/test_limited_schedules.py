"""What a schedule starts is bounded as any start is, and says so where it starts nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from fastapi_events import Concurrency, Dedupe, Events, JobContext, Module, RateLimit
from fastapi_events.errors import InvalidInput, JobCollisionError, OperationUnavailable
from tests.delivery.stage import SLOW, Stage, until, within
from tests.jobs.test_schedules import HOUR, by_hand, make_due, schedule, ticking, ticks


def reporting(seen: list[Any] | None = None, missed: Any = "once", **options: Any) -> Module:
    """A module with one schedule of a limited job."""
    reports = Module("reports")

    @reports.every("0 * * * *", missed=missed)
    @reports.job(**options)
    async def nightly(job: JobContext[None]) -> None:
        if seen is not None:
            seen.append(job.run.scheduled_for)

    return reports


REJECT = Concurrency(on_collision="reject")
REPLACE = Concurrency(on_collision="replace")
TRAILING = Dedupe(until="started")


async def asleep(stage: Stage, module: Module) -> tuple[Events, Any]:
    """An instance that runs nothing, and its loop, by hand."""
    events = await stage.running(module, pools=["interactive"], **SLOW)
    return events, await by_hand(events)


def job_of(events: Events) -> Any:
    return events.registry.jobs["reports.nightly"]


async def started(stage: Stage) -> list[Any]:
    return await stage.rows("SELECT id, source, scheduled_for FROM events.run ORDER BY number")


@asynccontextmanager
async def held_key(stage: Stage) -> AsyncIterator[None]:
    """An application's transaction that has started a run of the same key, and does not end."""
    connection = await asyncpg.connect(stage.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "INSERT INTO events.run_dedupe (job_id, key, run_id, until_started) "
        "SELECT s.job_id, s.limits ->> 'dedupe_key', gen_random_uuid(), false FROM events.schedule s "
        "WHERE s.limits IS NOT NULL"
    )
    yield
    await transaction.rollback()
    await connection.close()


@pytest.mark.parametrize("options", [{"dedupe": Dedupe()}, {"dedupe": TRAILING}, {"concurrency": REJECT}])
async def test_a_tick_whose_run_is_there_starts_none_and_names_it(
    stage: Stage, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    events, loop = await asleep(stage, reporting(**options))
    by_person = await events.jobs.start(job_of(events), None)
    tick = await make_due(stage)
    with caplog.at_level(logging.INFO, "fastapi_events"):
        assert await loop.look() == 0
    assert [run["id"] for run in await started(stage)] == [by_person.run]
    [view] = await events.observe.schedules()
    assert (view.next_at, view.last_tick_at, view.last_run_id) == (tick + HOUR, tick, by_person.run)
    assert view.last_note is not None
    assert str(by_person.run) in view.last_note
    assert f"1 ticks have started no run: {view.last_note}" in caplog.text
    await events.jobs.cancel(by_person)
    await make_due(stage, 1)
    await stage.rows("DELETE FROM events.run_end")
    assert await loop.look() == 1
    [view] = await events.observe.schedules()
    assert (view.last_note, view.last_run_id) == (None, (await started(stage))[-1]["id"])


async def test_a_tick_replaces_the_run_that_is_there(stage: Stage) -> None:
    events, loop = await asleep(stage, reporting(concurrency=REPLACE))
    first = await events.jobs.start(job_of(events), None)
    await make_due(stage)
    assert await loop.look() == 1
    run = await events.jobs.get(first)
    newest = (await started(stage))[-1]["id"]
    assert (run.state, run.note) == ("canceled", f"replaced by run {newest}")


@pytest.mark.parametrize("options", [{"concurrency": Concurrency()}, {"rate_limit": RateLimit(1, per=3600)}])
async def test_a_tick_waits_for_its_turn(stage: Stage, options: dict[str, Any]) -> None:
    events, loop = await asleep(stage, reporting(**options))
    await make_due(stage)
    assert await loop.look() == 1
    [row] = await stage.rows("SELECT state, gate FROM events.run_queue")
    assert row["state"] == b"g"
    assert row["gate"] is not None
    assert await stage.value("SELECT count(*) FROM events.run_turn") == 1
    assert events.runtime.counters is not None


async def test_one_that_is_limited_ticks_and_runs_by_itself(stage: Stage) -> None:
    seen: list[Any] = []
    options = {"concurrency": Concurrency(), "dedupe": TRAILING, "rate_limit": RateLimit(10, per=1)}
    events = await stage.running(reporting(seen, **options), **SLOW)
    tick = await make_due(stage)
    await ticking(events).look()
    await until(lambda: seen == [tick])


async def test_of_missed_ticks_one_waits_and_the_others_say_so(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    _, loop = await asleep(stage, reporting(missed="all", dedupe=TRAILING))
    tick = await make_due(stage, 3)
    with caplog.at_level(logging.INFO, "fastapi_events"):
        assert await loop.look() == 1
    assert await ticks(stage) == [tick]
    row = await schedule(stage)
    assert (row["last_tick_at"], row["next_at"]) == (tick + 3 * HOUR, tick + 4 * HOUR)
    assert "3 ticks have started no run: run " in caplog.text


async def test_several_processes_start_one_run_of_each_limited_tick(stage: Stage) -> None:
    module = reporting(missed="all", concurrency=REPLACE)
    loops = [(await asleep(stage, module))[1] for _ in range(3)]
    tick = await make_due(stage, 5)
    assert sum(await asyncio.gather(*(loop.look() for loop in loops))) == 6
    assert await ticks(stage) == [tick + hours * HOUR for hours in range(6)]
    [row] = await stage.rows("SELECT r.scheduled_for FROM events.run_queue q JOIN events.run r ON r.id = q.run_id")
    assert row["scheduled_for"] == tick + 5 * HOUR, "of many in one call the last replace the others"


async def test_a_tick_that_is_set_back_takes_nobodys_place(stage: Stage) -> None:
    events, loop = await asleep(stage, reporting(concurrency=REPLACE))
    await make_due(stage)
    assert await loop.look() == 1
    newer = await events.jobs.start(job_of(events), None)
    await make_due(stage)
    assert await loop.look() == 0
    assert (await events.jobs.get(newer)).state == "pending"


async def test_a_start_that_is_not_committed_holds_a_tick_up_and_no_other_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_events.store.limited_starts.BRIEFLY", "50")
    module = reporting(dedupe=Dedupe())

    @module.every("0 * * * *")
    @module.job()
    async def plain(job: JobContext[None]) -> None: ...

    events, loop = await asleep(stage, module)
    tick = await make_due(stage)
    async with held_key(stage):
        assert await within(loop.look()) == 1
        rows = {view.name: view for view in await events.observe.schedules()}
        assert rows["reports.plain"].next_at == tick + HOUR
        assert (rows["reports.nightly"].next_at, rows["reports.nightly"].last_tick_at) == (tick, None)
        with pytest.raises(OperationUnavailable, match="the same key has not ended"):
            await within(events.operations.run_schedule_now("reports.nightly", actor="ann"))
    assert await loop.look() == 1
    assert len(await ticks(stage)) == 2


async def test_a_run_now_is_bounded_and_the_operator_hears_of_it(stage: Stage) -> None:
    events, _ = await asleep(stage, reporting(concurrency=REJECT))
    now = events.operations.run_schedule_now
    run = await now("reports.nightly", actor="ann")
    with pytest.raises(JobCollisionError, match=rf"schedule 'reports.nightly': 1 of 1 runs.*{run}") as caught:
        await now("reports.nightly", actor="ann")
    assert caught.value.run == run
    assert len(await events.operations.actions()) == 1, "what was refused has done nothing"
    assert len(await started(stage)) == 1


async def test_a_run_now_gives_the_run_that_stands_for_it(stage: Stage) -> None:
    events, _ = await asleep(stage, reporting(dedupe=Dedupe()))
    now = events.operations.run_schedule_now
    run = await now("reports.nightly", actor="ann")
    assert await now("reports.nightly", actor="bob") == run
    [newest, first] = await events.operations.actions()
    assert (newest.actor, newest.details["run"], newest.details["existing"]) == ("bob", str(run), True)
    assert "existing" not in first.details


async def test_keys_are_those_of_the_process_that_declared_the_input(stage: Stage) -> None:
    """Another release may have another key function, or none: who ticks asks by what was declared last."""

    def module(kind: str) -> Module:
        reports = Module("reports")

        @reports.every("0 * * * *", input=kind)
        @reports.job("reports.nightly", dedupe=Dedupe(key=lambda given: f"key of {given}"))
        async def nightly(job: JobContext[str]) -> None: ...

        return reports

    _, loop = await asleep(stage, module("old"))
    await asleep(stage, module("new"))
    await make_due(stage)
    assert await loop.look() == 1
    assert await stage.value("SELECT key FROM events.run_dedupe") == "key of new"
    assert await stage.value("SELECT input FROM events.run") == '"new"'


async def test_a_key_that_cannot_be_one_is_refused_when_the_process_starts(stage: Stage) -> None:
    reports = Module("reports")

    @reports.every(timedelta(hours=1), input="x")
    @reports.job(dedupe=Dedupe(key=lambda _given: " "))
    async def nightly(job: JobContext[str]) -> None: ...

    with pytest.raises(InvalidInput, match=r"reports.nightly.*the dedupe key is blank"):
        await stage.running(reports)
