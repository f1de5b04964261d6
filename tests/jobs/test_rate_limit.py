"""No more attempts begin than the rate allows, in all processes together, by the database's clock."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_events import Concurrency, JobContext, Module, RateLimit, Retry, fixed
from tests.delivery.stage import Stage, until, within

SLOW: dict[str, Any] = {"poll_interval": 600.0, "poll_interval_degraded": 600.0}


class Call(BaseModel):
    """What is limited by its supplier."""

    supplier: str
    number: int = 0


def calls(seen: list[int], rate: RateLimit, **options: Any) -> Module:
    """A module with one job of this rate."""
    module = Module("shop")

    @module.job("shop.call", rate_limit=rate, **options)
    async def call(job: JobContext[Call]) -> None:
        seen.append(job.input.number)

    return module


def job_of(events: Any) -> Any:
    return events.registry.jobs["shop.call"]


async def pass_time(stage: Stage, seconds: float) -> None:
    """Let so much time have passed for every rate."""
    await stage.rows(
        "UPDATE events.run_limit SET tat = tat - make_interval(secs => $1), "
        "turn_at = turn_at - make_interval(secs => $1)",
        seconds,
    )
    await stage.rows("UPDATE events.run_turn SET due_at = due_at - make_interval(secs => $1)", seconds)


async def test_a_burst_of_the_limit_and_then_one_at_a_time(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(calls(seen, RateLimit(3, per=3600)), concurrency={"batch": 50})
    await events.jobs.start_many(job_of(events), [Call(supplier="a", number=number) for number in range(8)])
    await within(events.drain_once())
    assert seen == [0, 1, 2]
    await within(events.drain_once())
    assert len(seen) == 3
    for expected in (4, 5):
        await pass_time(stage, 1201)
        await within(events.drain_once())
        assert seen == list(range(expected))
    await pass_time(stage, 100 * 3600)  # a long rest is worth one burst
    await within(events.drain_once())
    assert seen == list(range(8))


async def test_it_holds_for_all_processes_together(stage: Stage) -> None:
    seen: list[int] = []
    rate = RateLimit(5, per=3600, key=lambda call: call.supplier)
    instances = [await stage.running(calls(seen, rate), concurrency={"batch": 10}) for _ in range(3)]
    for place, one in enumerate(instances):
        await one.jobs.start_many(job_of(one), [Call(supplier="a", number=place * 20 + n) for n in range(20)])
    await instances[0].jobs.start_many(job_of(instances[0]), [Call(supplier="b", number=100 + n) for n in range(3)])
    await until(lambda: len(seen) == 8)
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.run_turn WHERE due_at > clock_timestamp()"))
    for one in instances:
        one.runtime.wake.everything()
    await until(lambda: stage.value("SELECT count(*) = 8 FROM events.run_end"))
    assert sum(number < 100 for number in seen) == 5


async def test_the_next_one_begins_when_its_moment_has_come(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(calls(seen, RateLimit(2, per=0.4)), **SLOW)
    began = await stage.value("SELECT clock_timestamp()")
    await events.jobs.start_many(job_of(events), [Call(supplier="a", number=number) for number in range(6)])
    await until(lambda: len(seen) == 6)
    # Two at once, and four more 0.2 s apart each.
    assert await stage.value("SELECT extract(epoch FROM clock_timestamp() - $1) >= 0.8", began)


async def test_none_is_spent_before_a_process_has_room(stage: Stage) -> None:
    module, seen, go_on = Module("shop"), [], asyncio.Event()

    @module.job("shop.call", rate_limit=RateLimit(10, per=3600))
    async def call(job: JobContext[Call]) -> None:
        seen.append(job.input.number)
        await go_on.wait()

    events = await stage.running(module, concurrency={"batch": 2})
    await events.jobs.start_many(call, [Call(supplier="a", number=number) for number in range(9)])
    await until(lambda: len(seen) == 2)
    assert await stage.value("SELECT count(*) FROM events.run_queue WHERE state = 'g'") == 7
    go_on.set()
    await until(lambda: len(seen) == 9)


async def test_another_attempt_counts_and_one_that_goes_on_after_a_sleep_does_not(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.job("shop.call", rate_limit=RateLimit(2, per=3600), retry=Retry(2, fixed(0)))
    async def call(job: JobContext[Call]) -> None:
        seen.append((job.input.number, job.attempt))
        if job.input.number == 0:
            await job.sleep(3600)
        elif job.attempt == 1:
            raise ValueError("again")

    events = await stage.idle(module)
    await events.jobs.start_many(call, [Call(supplier="a", number=number) for number in range(2)])
    await within(events.drain_once())
    assert sorted(seen) == [(0, 1), (1, 1)]
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
    await stage.rows("UPDATE events.run_step SET due_at = clock_timestamp()")
    await within(events.drain_once())
    assert seen.count((0, 1)) == 2
    assert seen.count((1, 1)) == 1
    assert (1, 2) not in seen
    await pass_time(stage, 1801)
    await within(events.drain_once())
    assert seen[-1] == (1, 2)


async def test_with_a_limit_of_its_own_key_both_hold(stage: Stage) -> None:
    module, at_work, most, seen = Module("shop"), 0, 0, []

    @module.job(
        "shop.call",
        concurrency=Concurrency(key=lambda call: str(call.number % 2), limit=1),
        rate_limit=RateLimit(7, per=3600, key=lambda call: call.supplier),
    )
    async def call(job: JobContext[Call]) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.001)
        at_work -= 1
        seen.append(job.input.number)

    first = await stage.running(module, concurrency={"batch": 10})
    await stage.running(module, concurrency={"batch": 10})
    await first.jobs.start_many(call, [Call(supplier="a", number=number) for number in range(20)])
    await until(lambda: len(seen) == 7)
    assert most == 2
    await pass_time(stage, 3600)
    first.runtime.wake.everything()
    await until(lambda: len(seen) == 14)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("what", ["run_turn", "run_limit"])
async def test_what_is_lost_is_found_at_the_next_poll(stage: Stage, what: str) -> None:
    seen: list[int] = []
    events = await stage.running(calls(seen, RateLimit(1, per=0.3)))
    await events.jobs.start_many(job_of(events), [Call(supplier="a", number=number) for number in range(3)])
    await until(lambda: len(seen) == 1)
    await stage.rows(f"DELETE FROM events.{what}")
    await until(lambda: seen == [0, 1, 2])
