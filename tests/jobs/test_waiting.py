"""A run waits for a signal or an event, holds nothing meanwhile, and goes on with it: each once, none lost."""

from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import JobContext, Module, Retry, fixed
from fastapi_events.errors import JobFailed, RunNotFound
from tests.delivery.stage import Pinged, Placed, Stage, until, within


class Approval(BaseModel):
    """What somebody says."""

    by: str


def approving(timeout: float | None = None) -> tuple[Module, Any, list[str]]:
    """A module with a job that waits for two approvals."""
    module, seen = Module("shop"), list[str]()

    @module.job(retry=Retry(1))
    async def approve(job: JobContext[None]) -> list[str]:
        seen.append("begins")
        first = await job.signal("approved", Approval, timeout=timeout)
        second = await job.signal("approved", Approval, timeout=timeout)
        return [first.by, second.by]

    return module, approve, seen


async def waits(stage: Stage) -> bool:
    return await stage.value("SELECT state FROM events.run_queue") == b"w"


async def test_signals_are_taken_in_their_order_whenever_they_come(stage: Stage) -> None:
    module, approve, seen = approving()
    events = await stage.running(module)
    started = await events.jobs.start(approve, None)
    await until(lambda: waits(stage))
    assert await stage.value("SELECT worker_id FROM events.run_queue") is None
    assert await events.jobs.signal(started, "other", 1)
    assert await events.jobs.signal(started, "approved", Approval(by="a"))
    assert await events.jobs.signal(started, "approved", {"by": "b"})
    assert await within(events.jobs.result(started, timeout=10)) == ["a", "b"]
    assert not await events.jobs.signal(started, "approved", {"by": "c"})
    assert len(seen) <= 4


async def test_a_signal_before_the_run_has_begun_is_there(stage: Stage) -> None:
    module, approve, _ = approving()
    events = await stage.idle(module)
    started = await events.jobs.start(approve, None)
    for name in ("a", "b"):
        await events.jobs.signal(started, "approved", {"by": name})
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == ["a", "b"]
    with pytest.raises(RunNotFound):
        await events.jobs.signal(uuid4(), "approved")


async def test_a_signal_that_does_not_come_in_time_is_missed(stage: Stage) -> None:
    module, approve, _ = approving(timeout=60)
    events = await stage.idle(module)
    started = await events.jobs.start(approve, None)
    await events.drain_once()
    assert await waits(stage)
    await stage.rows("UPDATE events.run_step SET due_at = clock_timestamp()")
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp()")
    await events.drain_once()
    with pytest.raises(JobFailed, match="signal 'approved': it did not come in time"):
        await events.jobs.result(started, timeout=1)


def paying(*, key: str | None, retry: Retry | None = None) -> tuple[Module, Any]:
    """A module with a job that waits for an order."""
    module, fails = Module("shop"), [retry is not None]

    @module.job(retry=retry or Retry(1))
    async def pay(job: JobContext[None]) -> int:
        placed = await job.wait_for(Placed, key=key)
        if fails.pop() if fails else False:
            raise ValueError("once")
        return placed.number

    return module, pay


async def test_an_event_that_is_published_after_the_wait_began_ends_it(stage: Stage) -> None:
    module, pay = paying(key="a")
    events = await stage.running(module)
    await events.publish(Placed(order="a", number=1))
    started = await events.jobs.start(pay, None)
    await until(lambda: waits(stage))
    await events.publish(Placed(order="b", number=2))
    await events.publish(Pinged(number=3))
    await events.publish(Placed(order="a", number=4))
    await events.publish(Placed(order="a", number=5))
    assert await within(events.jobs.result(started, timeout=10)) == 4
    assert await stage.value("SELECT count(*) FROM events.run_wait") == 0


async def test_a_transaction_that_was_open_when_the_wait_began_counts(stage: Stage) -> None:
    module, pay = paying(key=None)
    events = await stage.idle(module)
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=7))
        await session.flush()
        await publisher(Placed(order="b", number=8), event_id=uuid4())  # writes at once
        started = await events.jobs.start(pay, None)
        await events.drain_once()
        assert await waits(stage)
        await session.commit()
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 7


async def test_the_event_stays_the_same_in_later_attempts(stage: Stage) -> None:
    module, pay = paying(key="a", retry=Retry(2, fixed(0)))
    events = await stage.idle(module)
    started = await events.jobs.start(pay, None)
    await events.drain_once()
    await events.publish(Placed(order="a", number=1))
    await events.publish(Placed(order="a", number=2))
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 1


async def test_whoever_ends_waits_for_nothing_any_more(stage: Stage) -> None:
    module, pay = paying(key="a")
    events = await stage.idle(module)
    started = await events.jobs.start(pay, None)
    await events.drain_once()
    assert await stage.value("SELECT count(*) FROM events.run_wait") == 1
    await events.jobs.cancel(started)
    await events.drain_once()
    assert await stage.value("SELECT count(*) FROM events.run_wait") == 0
