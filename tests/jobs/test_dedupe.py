"""A start whose key is taken gives the run that is there, in place of a second one; however many start at once."""

import asyncio

import asyncpg
import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from fastapi_events import Dedupe, HandlerSession, JobClient, JobContext, Module, Retry, fixed
from fastapi_events.api.session_binding import bind_jobs
from fastapi_events.errors import DeadLetter, NotInTransaction
from tests.delivery.stage import Placed, Stage, publish, until, within


class Report(BaseModel):
    """What is deduplicated."""

    day: str
    number: int = 0


def reports(dedupe: Dedupe, seen: list[int] | None = None) -> Module:
    """A module with one job."""
    module = Module("reports")

    @module.job("reports.make", dedupe=dedupe)
    async def make(job: JobContext[Report]) -> None:
        if seen is not None:
            seen.append(job.input.number)

    return module


BY_DAY = Dedupe(key=lambda report: report.day)


async def test_a_second_start_gives_the_first_run(stage: Stage) -> None:
    module = reports(BY_DAY)
    events = await stage.idle(module)
    make = events.registry.jobs["reports.make"]
    first = await events.jobs.start(make, Report(day="mon"))
    again = await events.jobs.start(make, Report(day="mon", number=1))
    other = await events.jobs.start(make, Report(day="tue"))
    assert (first.existing, again.existing, other.existing) == (False, True, False)
    assert again.run == first.run != other.run
    assert await stage.value("SELECT count(*) FROM events.run") == 2
    await events.drain_once()
    after = await events.jobs.start(make, Report(day="mon"))
    assert not after.existing
    assert after.run != first.run
    assert await stage.value("SELECT count(*) FROM events.run_dedupe") == 1


@pytest.mark.parametrize("dedupe", [BY_DAY, Dedupe()])
async def test_a_tenant_never_gets_the_run_of_another(stage: Stage, dedupe: Dedupe) -> None:
    module = reports(dedupe)
    events = await stage.idle(module)
    make, report = events.registry.jobs["reports.make"], Report(day="mon")
    runs = [await events.jobs.start(make, report, tenant_id=name) for name in ("acme", "nordwind", None)]
    assert [run.existing for run in runs] == [False] * 3
    again = [await events.jobs.start(make, report, tenant_id=name) for name in ("acme", "nordwind", None)]
    assert [run.run for run in again] == [run.run for run in runs]


async def test_without_a_key_equal_inputs_are_one(stage: Stage) -> None:
    module = reports(Dedupe())
    events = await stage.idle(module)
    make = events.registry.jobs["reports.make"]
    first = await events.jobs.start(make, Report(day="mon"))
    assert (await events.jobs.start(make, Report(day="mon"))).run == first.run
    assert not (await events.jobs.start(make, Report(day="mon", number=1))).existing


async def test_a_start_waits_for_one_that_is_not_committed(stage: Stage) -> None:
    first, second = await stage.idle(reports(BY_DAY)), await stage.idle(reports(BY_DAY))
    make = first.registry.jobs["reports.make"]
    for commits in (True, False):
        day = str(commits)
        async with first.session() as session:
            mine = await first.job_client(session).start(make, Report(day=day))
            waiting = asyncio.create_task(second.jobs.start(second.registry.jobs["reports.make"], Report(day=day)))
            await until(lambda: stage.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'"))
            assert not waiting.done()
            await (session.commit() if commits else session.rollback())
        theirs = await within(waiting)
        assert theirs.existing is commits
        assert (theirs.run == mine.run) is commits


async def test_one_of_many_at_once_is_started(stage: Stage) -> None:
    instances = [await stage.idle(reports(BY_DAY)) for _ in range(3)]
    started = await within(
        asyncio.gather(*(one.jobs.start(one.registry.jobs["reports.make"], Report(day="mon")) for one in instances * 5))
    )
    assert len({one.run for one in started}) == 1
    assert sum(not one.existing for one in started) == 1


@pytest.mark.parametrize("end", ["failed", "canceled"])
async def test_whatever_ends_it_frees_the_key(stage: Stage, end: str) -> None:
    module = Module("reports")

    @module.job("reports.make", dedupe=BY_DAY)
    async def make(job: JobContext[Report]) -> None:
        raise DeadLetter("no")

    events = await stage.idle(module)
    first = await events.jobs.start(make, Report(day="mon"))
    await (events.jobs.cancel(first) if end == "canceled" else events.drain_once())
    assert (await events.jobs.get(first)).state == end
    assert not (await events.jobs.start(make, Report(day="mon"))).existing


async def test_with_a_session_it_is_freed_by_the_commit_of_its_effects(stage: Stage) -> None:
    module = Module("reports")

    @module.job("reports.make", dedupe=BY_DAY)
    async def make(job: JobContext[Report], session: HandlerSession) -> None: ...

    events = await stage.idle(module)
    await events.jobs.start(make, Report(day="mon"))
    await events.drain_once()
    assert await stage.value("SELECT count(*) FROM events.run_dedupe") == 0


async def test_a_retry_keeps_the_key(stage: Stage) -> None:
    module, attempts = Module("reports"), []

    @module.job("reports.make", dedupe=BY_DAY, retry=Retry(2, fixed(0)))
    async def make(job: JobContext[Report]) -> None:
        attempts.append((await events.jobs.start(make, Report(day="mon"), run_at=None)).existing)
        if job.attempt == 1:
            raise ValueError("again")

    events = await stage.idle(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastapi_events.api.session_binding.bound_by", lambda: None)
        await events.jobs.start(make, Report(day="mon"))
        await events.drain_once()
    assert attempts == [True, True]


async def test_a_key_of_a_run_that_is_gone_is_found(stage: Stage) -> None:
    events = await stage.idle(reports(BY_DAY))
    make = events.registry.jobs["reports.make"]
    await events.jobs.start(make, Report(day="mon"))
    await stage.rows("DELETE FROM events.run_queue")
    await stage.running(reports(BY_DAY))
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_dedupe"))
    assert not (await events.jobs.start(make, Report(day="mon"))).existing


async def test_where_there_is_no_transaction_it_is_refused(stage: Stage) -> None:
    module, errors = Module("reports"), []

    @module.job("reports.make", dedupe=BY_DAY)
    async def make(job: JobContext[Report]) -> None: ...

    @module.on(Placed)
    async def without(event: Placed, jobs: JobClient) -> None:
        try:
            await jobs.start(make, Report(day="mon"))
        except NotInTransaction as error:
            errors.append(str(error))

    @module.on(Placed)
    async def within_one(event: Placed, jobs: JobClient, session: HandlerSession) -> None:
        errors.append(str((await jobs.start(make, Report(day="mon"))).existing))

    events = await stage.idle(module)
    await publish(events, [Placed(order="a")])
    await events.drain_once()
    assert len(errors) == 2
    assert "False" in errors
    assert any("session: HandlerSession" in error for error in errors)


async def test_every_driver_answers_alike(stage: Stage) -> None:
    events = await stage.idle(reports(BY_DAY))
    make = events.registry.jobs["reports.make"]
    there = await events.jobs.start(make, Report(day="mon"))
    connection = await asyncpg.connect(stage.url)
    async with connection.transaction():
        by_asyncpg = await bind_jobs(events.publishing, connection).start(make, Report(day="mon"))
    await connection.close()
    engine = create_engine(stage.url.replace("postgresql://", "postgresql+psycopg://", 1))
    with Session(engine) as session:
        jobs = bind_jobs(events.publishing, session)
        by_psycopg = await jobs.start(make, Report(day="mon"))
        fresh = await jobs.start(make, Report(day="tue"))
        session.commit()
    engine.dispose()
    assert by_asyncpg == by_psycopg
    assert (by_asyncpg.run, by_asyncpg.existing, fresh.existing) == (there.run, True, False)
