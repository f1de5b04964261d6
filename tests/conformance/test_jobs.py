"""Jobs are started with transactions, run, tried again, and looked after, on both back ends."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import (
    DeadLetter,
    Discard,
    EventPublisher,
    HandlerSession,
    JobCanceled,
    JobClient,
    JobContext,
    JobFailed,
    JobTimedOut,
    Module,
    RateLimit,
    Retry,
    RetryLater,
    fixed,
)
from fastapi_events.errors import DetachedPublish, InvalidInput, ResultTimeout, RunNotFound, UnknownJob
from fastapi_events.testing import PublishedEvents
from tests.conformance.backends import Backend, effect
from tests.delivery.stage import Placed, until, within


class Restock(BaseModel):
    """What is to be restocked."""

    sku: str
    quantity: int = 1


def noting(seen: list[str], **options: Any) -> Module:
    """A module with one job that notes its inputs."""
    shop = Module("shop")

    @shop.job("shop.restock", **options)
    async def restock(job: JobContext[Restock]) -> int:
        seen.append(job.input.sku)
        return job.input.quantity * 2

    return shop


async def test_a_run_is_there_with_the_commit_and_not_before(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.idle(noting(seen))
    restock = events.registry.jobs["shop.restock"]
    async with events.session() as session:
        jobs = events.job_client(session)
        lost = await jobs.start(restock, Restock(sku="lost"))
        await session.rollback()
        with pytest.raises(RunNotFound):
            await jobs.get(lost)
        kept = await jobs.start(restock, Restock(sku="kept", quantity=4))
        async with session.begin_nested() as savepoint:
            await jobs.start(restock, Restock(sku="taken back"))
            await savepoint.rollback()
        await events.drain_once()
        assert seen == []
        await session.commit()
    await events.drain_once()
    assert seen == ["kept"]
    view = await events.jobs.get(kept)
    assert (view.job, view.state, view.attempts) == ("shop.restock", "completed", 1)
    assert await events.jobs.result(kept, timeout=1) == 8


async def test_runs_go_by_their_priority_and_then_in_the_order_of_starting(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.idle(noting(seen, priority=1), concurrency={"batch": 1})
    restock = events.registry.jobs["shop.restock"]
    many = await events.jobs.start_many(restock, [Restock(sku=f"{number}") for number in range(5)])
    await events.jobs.start(restock, Restock(sku="low"), priority=-5)
    await events.jobs.start(restock, Restock(sku="high"), priority=10)
    assert len({one.run for one in many}) == 5
    assert await events.drain_once() == 7
    assert seen == ["high", "0", "1", "2", "3", "4", "low"]


async def test_failures_are_tried_again_after_their_back_off(backend: Backend) -> None:
    shop, seen = Module("shop"), []

    @shop.job(retry=Retry(3, fixed(60, jitter=False)))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append((job.attempt, job.run.attempt, job.redelivered))
        raise ValueError("no supplier")

    events = await backend.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    for attempts in (1, 2):
        await events.drain_once()
        view = await events.jobs.get(started)
        assert (len(seen), view.state, view.attempts) == (attempts, "pending", attempts)
        assert (view.error_type, view.error_message) == ("ValueError", "no supplier")
        await backend.later(61)
    await events.drain_once()
    view = await events.jobs.get(started)
    assert seen == [(1, 1, False), (2, 2, False), (3, 3, False)]
    assert (view.state, view.reason, view.attempts, view.error_message) == ("failed", "max_attempts", 3, "no supplier")
    with pytest.raises(JobFailed, match="has failed: ValueError: no supplier"):
        await events.jobs.result(started, timeout=1)
    assert await events.jobs.retry(started)
    assert (await events.jobs.get(started)).error_type is None


async def test_a_job_says_itself_what_becomes_of_it(backend: Backend) -> None:
    shop = Module("shop")

    @shop.job()
    async def discards(job: JobContext[None]) -> None:
        raise Discard("nothing to do")

    @shop.job()
    async def gives_up(job: JobContext[None]) -> None:
        raise DeadLetter("never")

    @shop.job()
    async def postpones(job: JobContext[list[int]]) -> int:
        if not later:
            later.append(1)
            raise RetryLater(60)
        return job.attempt

    later: list[int] = []
    events = await backend.idle(shop)
    first, second = await events.jobs.start(discards, None), await events.jobs.start(gives_up, None)
    third = await events.jobs.start(postpones, [])
    await events.drain_once()
    assert [(one.state, one.note) for one in [await events.jobs.get(first)]] == [("canceled", "nothing to do")]
    view = await events.jobs.get(second)
    assert (view.state, view.reason, view.error_message) == ("failed", "rejected_by_handler", "never")
    assert (await events.jobs.get(third)).state == "pending"
    await backend.later(61)
    await events.drain_once()
    assert await events.jobs.result(third, timeout=1) == 1  # an attempt that was put off is not spent


async def test_one_that_outlives_its_time_has_timed_out(backend: Backend) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1), timeout=0.05)
    async def restock(job: JobContext[Restock]) -> None:
        await asyncio.Event().wait()

    events = await backend.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await within(events.drain_once())
    with pytest.raises(JobTimedOut, match=r"longer than its time-out of 0\.05 s"):
        await events.jobs.result(started, timeout=1)


@pytest.mark.parametrize("with_session", [True, False])
async def test_effects_result_events_and_runs_come_true_together(backend: Backend, with_session: bool) -> None:
    shop, followed = Module("shop"), []

    @shop.job()
    async def follow(job: JobContext[int]) -> None:
        followed.append(job.input)

    async def both(job: JobContext[Restock], publish: EventPublisher, jobs: JobClient) -> int:
        await publish(Placed(order="a", number=job.attempt))
        await jobs.start(follow, job.attempt)
        if job.attempt == 1:
            raise ValueError("half done")
        return job.attempt

    if with_session:

        @shop.job("shop.restock", retry=Retry(2, fixed(0)))
        async def restock(
            job: JobContext[Restock], session: HandlerSession, publish: EventPublisher, jobs: JobClient
        ) -> int:
            await effect(session, "restock", job.attempt)
            return await both(job, publish, jobs)
    else:
        restock = shop.job("shop.restock", retry=Retry(2, fixed(0)))(both)

    events = await backend.idle(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 2
    assert await backend.effects(events) == ([("restock", 2)] if with_session else [])
    [placed] = await PublishedEvents(events).everything()
    assert (placed.event, placed.causation_id) == (Placed(order="a", number=2), started.run)
    assert followed == [2]
    assert {view.job for view in (await events.jobs.list()).runs} == {"shop.restock", "shop.follow"}


async def test_a_handler_starts_jobs_with_its_delivery(backend: Backend) -> None:
    shop, seen, fails = Module("shop"), [], [True, True]

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        seen.append((job.input.sku, job.run.correlation_id))

    @shop.on(Placed)
    async def plain(event: Placed, jobs: JobClient) -> None:
        await jobs.start(restock, Restock(sku="plain"))

    @shop.on(Placed, retry=Retry(2, fixed(0)))
    async def transactional(event: Placed, session: HandlerSession, jobs: JobClient) -> None:
        await jobs.start(restock, Restock(sku="session"))
        if fails:
            fails.clear()
            raise ValueError("half done")

    events = await backend.idle(shop)
    published = await events.publish(Placed(order="a"))
    await events.drain_once()
    assert sorted(seen) == [("plain", published.event_id), ("session", published.event_id)]


async def test_a_plain_function_and_a_class_are_jobs_too(backend: Backend) -> None:
    shop = Module("shop")

    @shop.job()
    def count(job: JobContext[Restock]) -> int:
        return job.input.quantity + 1

    class Report:
        """A job with state of its own."""

        def __init__(self) -> None:
            self.lines: list[str] = []

        async def run(self, job: JobContext[Restock]) -> list[str]:
            self.lines.append(job.input.sku)
            return self.lines

    report = shop.job()(Report)
    events = await backend.idle(shop)
    first, second = await events.jobs.start(count, Restock(sku="a")), await events.jobs.start(report, Restock(sku="b"))
    await events.drain_once()
    assert await events.jobs.result(first, timeout=1) == 2
    assert await events.jobs.result(second, timeout=1) == ["b"]


async def test_a_start_in_the_future_waits_for_its_time(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.idle(noting(seen))
    started = await events.jobs.start(events.registry.jobs["shop.restock"], Restock(sku="a"), delay=3600)
    await events.drain_once()
    view = await events.jobs.get(started)
    assert (view.state, seen) == ("pending", [])
    assert view.due_at is not None
    assert 3500 < (view.due_at - view.created_at).total_seconds() <= 3600
    await backend.later(3601)
    await events.drain_once()
    assert (await events.jobs.get(started)).state == "completed"


async def test_cancelling_ends_one_that_waits_and_retrying_lets_it_begin_anew(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.idle(noting(seen))
    started = await events.jobs.start(events.registry.jobs["shop.restock"], Restock(sku="a"))
    assert await events.jobs.cancel(started, "not needed")
    assert not await events.jobs.cancel(started)
    with pytest.raises(JobCanceled, match="not needed"):
        await events.jobs.result(started, timeout=1)
    with pytest.raises(RunNotFound):
        await events.jobs.cancel(uuid4())
    await events.drain_once()
    assert seen == []
    assert await events.jobs.retry(started)
    assert not await events.jobs.retry(started)
    await events.drain_once()
    assert seen == ["a"]
    assert (await events.jobs.get(started)).state == "completed"
    assert not await events.jobs.retry(started)


async def test_cancelling_interrupts_one_that_is_at_work(backend: Backend) -> None:
    shop, begun, cleaned = Module("shop"), asyncio.Event(), []

    @shop.job()
    async def restock(job: JobContext[Restock]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(job.input.sku)

    events = await backend.running(shop)
    started = await events.jobs.start(restock, Restock(sku="a"))
    await within(begun.wait())
    assert (await events.jobs.get(started)).state == "running"
    assert await events.jobs.cancel(started, "changed our mind")
    with pytest.raises(JobCanceled, match="changed our mind"):
        await events.jobs.result(started, timeout=10)
    assert cleaned == ["a"]


async def test_an_instance_that_runs_needs_no_drain(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.running(noting(seen))
    restock = events.registry.jobs["shop.restock"]
    later = await events.jobs.start(restock, Restock(sku="later", quantity=3), delay=0.05)
    at_once = await events.jobs.start(restock, Restock(sku="at once"))
    assert await within(events.jobs.result(at_once, timeout=10)) == 2
    assert await within(events.jobs.result(later, timeout=10)) == 6
    assert sorted(seen) == ["at once", "later"]


async def test_an_instance_that_runs_sees_that_time_has_passed(backend: Backend) -> None:
    shop, seen = Module("shop"), list[str]()

    @shop.job(retry=Retry(2, fixed(3600, jitter=False)), rate_limit=RateLimit(1, per=3600))
    async def restock(job: JobContext[str]) -> None:
        seen.append(f"{job.input} {job.attempt}")
        if job.input == "fails" and job.attempt == 1:
            raise ValueError("again")

    @shop.every(timedelta(hours=12))
    async def nightly(job: JobContext[None]) -> None:
        seen.append("nightly")

    events = await backend.running(shop)
    later = await events.jobs.start(restock, "later", delay=1800)
    fails = await events.jobs.start(restock, "fails")

    async def waits() -> bool:
        view = await events.jobs.get(fails)
        return (view.state, view.attempts) == ("pending", 1)

    await until(waits)
    assert seen == ["fails 1"]
    await backend.later(3700)
    await until(lambda: len(seen) == 2)  # one of them each hour
    await backend.later(3700)
    await until(lambda: sorted(seen) == ["fails 1", "fails 2", "later 1"])
    await backend.later(12 * 3600)
    await until(lambda: "nightly" in seen)
    assert (await events.jobs.get(later)).state == "completed"


async def test_runs_are_listed(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.idle(noting(seen, scope=lambda restock: ("sku", restock.sku)))
    restock = events.registry.jobs["shop.restock"]
    runs = [await events.jobs.start(restock, Restock(sku=sku), tags=["spring"]) for sku in ("a", "b", "a")]
    page = await events.jobs.list(restock, limit=2)
    assert [one.id for one in page.runs] == [runs[2].run, runs[1].run]
    assert page.runs[0].tags == ("spring",)
    rest = await events.jobs.list(restock, limit=2, after=page.next)
    assert ([one.id for one in rest.runs], rest.next) == ([runs[0].run], None)
    assert {one.id for one in (await events.jobs.list(scope=("sku", "a"))).runs} == {runs[0].run, runs[2].run}
    await events.jobs.cancel(runs[1])
    await events.drain_once()
    assert [one.id for one in (await events.jobs.list(state="canceled")).runs] == [runs[1].run]
    assert len((await events.jobs.list(state="completed")).runs) == 2
    assert (await events.jobs.list(state="pending")).runs == []


async def test_runs_are_put_off_and_brought_forward(backend: Backend) -> None:
    seen: list[str] = []
    events = await backend.idle(noting(seen, scope=lambda given: ("sku", given.sku)))
    restock, jobs = events.registry.jobs["shop.restock"], events.jobs
    later, soon = [await jobs.start(restock, Restock(sku=sku), delay=delay) for sku, delay in (("a", 60), ("b", 0))]
    assert await jobs.reschedule(soon, delay=60)
    await events.drain_once()
    assert seen == []
    assert await jobs.reschedule_scope(("sku", "a"), delay=0) == 1
    await events.drain_once()
    assert seen == ["a"]
    assert not await jobs.reschedule(later, delay=0)
    assert await jobs.cancel_scope(("sku", "b"), "closed") == 1
    assert (await jobs.get(soon)).state == "canceled"


async def test_misuse_is_refused_by_name(backend: Backend) -> None:
    shop = Module("shop")

    @Module("other").job()
    async def stray(job: JobContext[None]) -> None:
        return None

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[Restock]) -> None:
        await events.jobs.start(restock, job.input)

    wrong: Any = "a"
    events = await backend.idle(shop)
    with pytest.raises(UnknownJob, match=r"other\.stray.*belongs to no module"):
        await events.jobs.start(stray, None)
    with pytest.raises(InvalidInput):
        await events.jobs.start(restock, wrong)
    started = await events.jobs.start(restock, Restock(sku="a"))
    with pytest.raises(ResultTimeout, match="has not ended within"):
        await events.jobs.result(started, timeout=0.01)
    await events.drain_once()
    view = await events.jobs.get(started)
    assert (view.error_type or "").endswith(DetachedPublish.__name__)
