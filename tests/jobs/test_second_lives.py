"""A run that somebody let go, cancelled or let begin anew is not mixed up with what it was before."""

import asyncio
from typing import Any

from fastapi_events import JobContext, Module, Retry
from tests.delivery.stage import Placed, Stage, until, within


async def test_what_a_lease_that_ran_out_leaves_behind_is_not_done_again(stage: Stage) -> None:
    module, calls, hung = Module("shop"), list[Any](), asyncio.Event()

    async def charge() -> int:
        calls.append("charge")
        return 5

    @module.job(retry=Retry(1))
    async def pay(job: JobContext[None]) -> int:
        charged = await job.step("charge", charge)
        calls.append(job.redelivered)
        if calls == ["charge", False]:
            hung.set()
            await asyncio.Event().wait()
        return charged

    first = await stage.running(module)
    other = await stage.idle(module)
    started = await first.jobs.start(pay, None)
    await within(hung.wait())

    async def taken_over() -> bool:  # the first one may renew its lease between the two
        await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp() - interval '1 second'")
        await other.drain_once()
        return len(calls) == 3

    await until(taken_over)
    assert await other.jobs.result(started, timeout=5) == 5
    assert calls == ["charge", False, True]  # nobody has vanished, and yet nobody knows what else was done
    assert await stage.value("SELECT count(*) FROM events.run_attempt") == 0


async def test_a_child_that_was_left_alone_does_not_hold_up_the_next_life_of_its_parent(stage: Stage) -> None:
    module, lives = Module("shop"), list[int]()

    @module.job()
    async def child(job: JobContext[bool]) -> str:
        return await job.signal("go on", str) if job.input else "done"

    @module.job()
    async def parent(job: JobContext[None]) -> list[str]:
        if not lives:
            await job.spawn(child, True, on_parent_close="abandon")
            lives.append(1)
            return []
        await job.spawn(child, False)
        return list(await job.gather_children())

    events = await stage.idle(module)
    started = await events.jobs.start(parent, None)
    await within(events.drain_once())
    assert await events.jobs.replay(started, from_="scratch")
    await within(events.drain_once())
    assert await events.jobs.result(started, timeout=5) == ["done"]


async def test_children_that_are_not_kept_any_more_are_not_waited_for(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def child(job: JobContext[int]) -> int:
        return job.input

    @module.job(retry=Retry(1))
    async def parent(job: JobContext[None]) -> None:
        await job.spawn(child, 1)
        await job.gather_children()
        raise ValueError("after all of them")

    events = await stage.idle(module)
    started = await events.jobs.start(parent, None)
    await within(events.drain_once())
    for table, column in (("run", "id"), ("run_end", "run_id")):
        await stage.rows(f"DELETE FROM events.{table} WHERE {column} <> $1", started.run)
    assert await events.jobs.retry(started)
    await within(events.drain_once())
    run = await events.jobs.get(started)
    assert run.state == "failed"
    assert "is not kept any more, nor its result" in (run.error_message or "")


async def test_a_wait_of_an_earlier_life_is_not_in_the_way(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def wait(job: JobContext[None]) -> int:
        return (await job.wait_for(Placed, key="a", timeout=60)).number

    events = await stage.running(module, poll_interval=60)
    started = await events.jobs.start(wait, None, delay=3600)
    await stage.rows(  # as it is left until somebody looks, when a run is cancelled while it waits
        "INSERT INTO events.run_wait (run_id, name, event_name, key, places, since) "
        "VALUES ($1, 'event:1', 'shop.other', 'b', '{}', pg_current_snapshot())",
        started.run,
    )
    assert await events.jobs.reschedule(started, delay=0)
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.run_queue WHERE resumed"))
    await events.publish(Placed(order="a", number=7))
    assert await events.jobs.result(started, timeout=10) == 7


async def test_leases_are_kept_while_a_process_drains_once(stage: Stage) -> None:
    module, kept = Module("shop"), asyncio.Event()

    @module.job(retry=Retry(1))
    async def long(job: JobContext[None]) -> None:
        due_at = await stage.value("SELECT due_at FROM events.run_queue")
        await until(lambda: stage.value("SELECT due_at > $1 FROM events.run_queue", due_at))
        kept.set()

    events = await stage.idle(module, lease=2, heartbeat=0.5)
    await events.jobs.start(long, None)
    await within(events.drain_once())
    assert kept.is_set()
