"""A run that ends its processes is found out and ended, and nobody else is blamed."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Events, JobContext, Module
from tests.delivery.stage import Stage, until, within

VANISHED = """
    INSERT INTO events.worker (id, group_id, host, pid, drains, release, connections, lease_until)
    SELECT $1, (SELECT min(id) FROM events.consumer_group), 'gone', 1, true, '0', 1, now() - $2::text::interval
"""
GONE = "00000000-0000-0000-0000-000000000001"
LONG_AGO, NOW = "2 hours", "0 s"


async def vanish(stage: Stage, events: Events, ago: str = LONG_AGO) -> None:
    """Let a process be gone without a word: what it has in hand stays as it is, until the lease is over."""
    work: Any = events.runtime.jobs
    worker = events.runtime.worker
    for pool in work.work.pools:
        pool.in_hand.clear()  # what has vanished records nothing
    await events.stop()
    await stage.rows(VANISHED, worker, ago)
    await stage.rows("UPDATE events.run_queue SET due_at = now() - interval '1 hour' WHERE worker_id = $1", worker)


class Shop:
    """A job of which every run waits in the first two processes, and one in all of them."""

    def __init__(self, culprit: int) -> None:
        self.module, self.seen, self.culprit, self.settles = Module("shop"), [], culprit, False
        self.work = self.module.job(name="shop.work")(self._work)

    seen: list[int]

    async def _work(self, job: JobContext[int]) -> None:
        self.seen.append(job.input)
        if job.input == self.culprit or not self.settles:
            await asyncio.Event().wait()


async def test_a_run_with_which_processes_vanish_fails_in_the_end_and_no_other(stage: Stage) -> None:
    shop = Shop(culprit=2)
    for crash in range(5):
        shop.settles, before = crash >= 2, shop.seen.count(2)
        events = await stage.running(shop.module, concurrency={"batch": 3}, heartbeat=2.0, shutdown_grace=0.1)
        if not crash:
            started = [await events.jobs.start(shop.work, number) for number in (1, 2, 3)]
        await until(lambda before=before: shop.seen.count(2) > before)
        if crash < 2:
            await until(lambda crash=crash: len(shop.seen) == 3 * (crash + 1))
        await vanish(stage, events)
    events = await stage.running(shop.module)
    await until(lambda: stage.value("SELECT count(*) = 3 FROM events.run_end"))
    views = [await events.jobs.get(one) for one in started]
    assert [view.state for view in views] == ["completed", "failed", "completed"]
    assert views[1].reason == "crashed_worker"
    assert "3 processes have vanished while they ran it alone" in str(views[1].error_message)
    assert [shop.seen.count(number) for number in (1, 2, 3)] == [3, 5, 3]


async def in_doubt(stage: Stage, *, alone: int = 0, since: str | None = None) -> None:
    """Let processes have vanished with every run."""
    await stage.rows(VANISHED, GONE, LONG_AGO)
    await stage.rows(
        "UPDATE events.run_queue SET state = 'x', worker_id = $3, crashes = 5, crashes_alone = $1, "
        "alone_since = now() - $2::text::interval, due_at = now() - interval '1 hour'",
        alone, since, GONE,
    )  # fmt: skip


@pytest.mark.parametrize("gets_on", [False, True])
async def test_one_that_gets_on_by_a_step_is_not_blamed(stage: Stage, gets_on: bool) -> None:
    shop = Shop(culprit=0)
    shop.settles = True
    events = await stage.idle(shop.module)
    started = await events.jobs.start(shop.work, 1)
    await in_doubt(stage, alone=2, since="1 minute")
    await stage.rows(
        "INSERT INTO events.run_step (run_id, name, number, kind, state, changed_at) "
        "VALUES ($1, 's', 1, 'step', 'done', now() - $2::text::interval)",
        started.run, "1 s" if gets_on else "2 minutes",
    )  # fmt: skip
    await within(events.drain_once())
    assert (await events.jobs.get(started)).state == ("completed" if gets_on else "failed")


@pytest.mark.parametrize("others", [0, 1])
async def test_where_processes_vanish_anyway_one_proves_less(stage: Stage, others: int) -> None:
    shop = Shop(culprit=0)
    shop.settles = True
    events = await stage.idle(shop.module)
    started = await events.jobs.start(shop.work, 1)
    await in_doubt(stage, alone=2, since="1 minute")
    for number in range(6 + others):  # one for each of its crashes, and some more
        await stage.rows(VANISHED, f"00000000-0000-0000-0000-00000000001{number}", NOW)
    await within(events.drain_once())
    assert (await events.jobs.get(started)).state == ("completed" if others else "failed")


async def test_of_those_in_doubt_one_is_at_work_in_a_process_whatever_its_pool(stage: Stage) -> None:
    shop, begun, go_on = Module("shop"), [], asyncio.Event()

    async def work(job: JobContext[int]) -> None:
        begun.append(job.input)
        if job.input < 3:
            await go_on.wait()

    one, other = shop.job(name="shop.one", pool="one")(work), shop.job(name="shop.other", pool="other")(work)
    starter = await stage.idle(shop, notify="off")
    runs = [await starter.jobs.start(job, number) for number, job in enumerate((one, one, other))]
    await in_doubt(stage)
    runs.append(await starter.jobs.start(other, 3))
    events = await stage.running(shop)
    await within(events.jobs.result(runs[3], timeout=10))  # who is not in doubt does not wait for them
    await until(lambda: len(begun) == 2)
    assert await stage.value("SELECT count(*) FROM events.run_queue WHERE alone_since IS NOT NULL") == 1
    go_on.set()
    for run in runs:
        await within(events.jobs.result(run, timeout=10))
