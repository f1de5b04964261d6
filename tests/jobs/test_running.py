"""A job that is started is run, and what comes of it is there for whoever asks."""

import asyncio
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import (
    JobCanceled,
    JobClient,
    JobContext,
    JobFailed,
    Module,
    Retry,
    fixed,
)
from fastapi_events.engine.jobs import leases
from fastapi_events.errors import DetachedPublish, ResultTimeout, RunNotFound, UnknownJob
from tests.delivery.stage import SLOW, Stage, within


class Restock(BaseModel):
    """What is to be restocked."""

    sku: str
    quantity: int = 1


class Restocked(BaseModel):
    """What has come of it."""

    sku: str
    ordered: int


async def test_its_result_can_be_waited_for(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def restock(job: JobContext[Restock]) -> Restocked:
        return Restocked(sku=job.input.sku, ordered=job.input.quantity * 2)

    events = await stage.running(shop)
    started = await events.jobs.start(restock, Restock(sku="a", quantity=2))
    result = await within(events.jobs.result(started, timeout=10))
    assert result == Restocked(sku="a", ordered=4)
    view = await events.jobs.get(started)
    assert (view.job, view.state, view.attempts) == ("shop.restock", "completed", 1)


async def test_it_is_there_with_the_commit_and_not_before(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.sku)

    events = await stage.idle(shop)
    async with events.session() as session:
        jobs = events.job_client(session)
        started = await jobs.start(restock, Restock(sku="lost"))
        await session.rollback()
        with pytest.raises(RunNotFound):
            await jobs.get(started)
        kept = await jobs.start(restock, Restock(sku="kept"))
        async with session.begin_nested() as savepoint:
            await jobs.start(restock, Restock(sku="taken back"))
            await savepoint.rollback()
        await session.commit()
    await events.drain_once()
    assert seen == ["kept"]
    assert (await events.jobs.get(kept)).state == "completed"


async def test_many_are_started_in_one_call_and_run_in_their_order(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.quantity)

    events = await stage.idle(shop, concurrency={"batch": 1})
    started = await events.jobs.start_many(restock, [Restock(sku="a", quantity=number) for number in range(50)])
    assert len({one.run for one in started}) == 50
    await events.drain_once()
    assert seen == list(range(50))


async def test_higher_priorities_come_first(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job(priority=1)
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.sku)

    events = await stage.idle(shop, concurrency={"batch": 1})
    await events.jobs.start(restock, Restock(sku="usual"))
    await events.jobs.start(restock, Restock(sku="low"), priority=-5)
    await events.jobs.start(restock, Restock(sku="high"), priority=10)
    await events.drain_once()
    assert seen == ["high", "usual", "low"]


async def test_one_that_fails_is_tried_again_and_then_has_failed(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job(retry=Retry(3, fixed(0)))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append((job.attempt, job.run.attempt))
        raise ValueError("no supplier")

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await events.drain_once()
    view = await events.jobs.get(started)
    assert seen == [(1, 1), (2, 2), (3, 3)]
    assert (view.state, view.reason, view.attempts, view.error_message) == ("failed", "max_attempts", 3, "no supplier")
    outcomes = await stage.rows("SELECT outcome FROM events.run_attempt ORDER BY number")
    assert [row["outcome"] for row in outcomes] == ["retry", "retry", "dead"]
    with pytest.raises(JobFailed, match="no supplier"):
        await events.jobs.result(started, timeout=1)


async def test_a_plain_function_and_a_class_are_jobs_too(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    def count(job: JobContext[Restock]) -> int:
        return job.input.quantity + 1

    @shop.job()
    class Report:
        """A job with state of its own."""

        def __init__(self) -> None:
            self.lines: list[str] = []

        async def run(self, job: JobContext[Restock], jobs: JobClient) -> list[str]:
            self.lines.append(job.input.sku)
            return self.lines

    events = await stage.running(shop)
    first, second = await events.jobs.start(count, Restock(sku="a")), await events.jobs.start(Report, Restock(sku="b"))
    assert await within(events.jobs.result(first, timeout=10)) == 2
    assert await within(events.jobs.result(second, timeout=10)) == ["b"]


async def test_cancelling_ends_one_that_waits(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        return None

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    assert await events.jobs.cancel(started, "not needed")
    assert not await events.jobs.cancel(started)
    view = await events.jobs.get(started)
    assert (view.state, view.note) == ("canceled", "not needed")
    with pytest.raises(JobCanceled, match="not needed"):
        await events.jobs.result(started, timeout=1)
    with pytest.raises(RunNotFound):
        await events.jobs.cancel(uuid4())


@pytest.mark.parametrize("told", [True, False])
async def test_cancelling_interrupts_one_that_runs_in_another_process(
    stage: Stage, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a word at once; where nobody is told, by a look twice a second, long before the next heartbeat."""
    shop, begun, cleaned = Module("shop"), asyncio.Event(), []

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(job.input.sku)

    if told:
        monkeypatch.setattr(leases, "LOOK", 1000.0)
    working = await stage.running(shop, lease=3600.0, heartbeat=1000.0, **SLOW)
    other = await stage.idle(shop, notify="after_commit" if told else "off")
    started = await working.jobs.start(restock, Restock(sku="a"))
    await within(begun.wait())
    assert await other.jobs.cancel(started, "changed our mind")
    with pytest.raises(JobCanceled, match="changed our mind"):
        await other.jobs.result(started, timeout=10)
    assert cleaned == ["a"]


async def test_waiting_for_a_result_ends_at_the_time_out(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        return None

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    with pytest.raises(ResultTimeout, match="has not ended within"):
        await events.jobs.result(started, timeout=0.01)


async def test_a_job_of_no_module_is_refused(stage: Stage) -> None:
    @Module("other").job()
    async def stray(job: JobContext[None]) -> None:
        return None

    events = await stage.idle(Module("shop"))
    with pytest.raises(UnknownJob, match=r"other\.stray.*belongs to no module"):
        await events.jobs.start(stray, None)


async def test_a_start_beside_a_transaction_is_refused(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[Restock]) -> None:
        await events.jobs.start(restock, job.input)

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await events.drain_once()
    view = await events.jobs.get(started)
    assert (view.error_type or "").endswith(DetachedPublish.__name__)
    assert "while job 'shop.restock' is active" in (view.error_message or "")


async def test_a_stored_input_that_the_job_takes_no_more_fails_at_once(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        return None

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await stage.rows("""UPDATE events.run SET input = '{"quantity": "many"}'""")
    await events.drain_once()
    view = await events.jobs.get(started)
    assert (view.state, view.reason, view.attempts) == ("failed", "invalid_payload", 1)


async def test_a_result_that_cannot_be_stored_is_a_failure(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[Restock]) -> str:
        return "a\x00b"

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await events.drain_once()
    assert "NUL" in ((await events.jobs.get(started)).error_message or "")
