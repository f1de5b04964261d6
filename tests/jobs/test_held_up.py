"""What somebody has locked holds up what is to be done about it, and nothing else: no timer, no end of another run."""

import asyncio
import contextlib
from typing import Any

import pytest

from fastapi_events import Concurrency, Event, EventPublisher, JobContext, Module, Retry
from fastapi_events.errors import JobCanceled, OperationUnavailable
from fastapi_events.store import canceled_runs
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements
from tests.delivery.stage import Stage, until, within
from tests.jobs.test_in_each_others_way import WAITING, locked


class Shop:
    """A parent whose child can be replaced, and a job that only waits for its time."""

    def __init__(self) -> None:
        self.module = Module("shop")

        @self.module.job(concurrency=Concurrency(on_collision="replace"))
        async def child(job: JobContext[str]) -> None:
            if job.input != "new":
                await job.signal("never", str)

        @self.module.job(retry=Retry(1))
        async def parent(job: JobContext[str]) -> None:
            await job.spawn(child, job.input)
            await job.gather_children()

        @self.module.job(retry=Retry(1))
        async def later(job: JobContext[None]) -> str:
            return "begun"

        @self.module.job(retry=Retry(1))
        async def asleep(job: JobContext[None]) -> None:
            await job.signal("never", str)

        @self.module.job(retry=Retry(1))
        async def above(job: JobContext[None]) -> None:
            await job.spawn(asleep, None)
            await job.signal("never", str)

        self.child: Any = child
        self.parent: Any = parent
        self.later: Any = later
        self.asleep: Any = asleep
        self.above: Any = above


class Alone(Event, name="shop.order.alone", aggregate_id="order", serialize=True):
    """An event that waits for whoever has published one of its key."""

    order: str


class Telling:
    """A job that ends with an event, and one that needs nobody."""

    def __init__(self) -> None:
        self.module, self.told = Module("shop"), list[int]()

        @self.module.job(retry=Retry(1))
        async def tell(job: JobContext[int], publish: EventPublisher) -> int:
            await publish(Alone(order="a"))
            self.told.append(job.input)
            return job.input

        @self.module.job(retry=Retry(1))
        async def plain(job: JobContext[None]) -> str:
            return "plain"

        self.tell: Any = tell
        self.plain: Any = plain


async def waiting(stage: Stage, name: str) -> Any:
    """The run of a job that has come to where it waits."""
    return await until(
        lambda: stage.value(
            "SELECT q.run_id FROM events.run_queue q JOIN events.job j ON j.id = q.job_id "
            "WHERE j.name = 'shop.' || $1 AND q.state = 'w'",
            name,
        )
    )


async def test_a_locked_parent_of_a_run_to_be_cancelled_holds_up_no_timer(stage: Stage) -> None:
    shop = Shop()
    events = await stage.running(shop.module)
    parent = await events.jobs.start(shop.parent, "old")
    old = await waiting(stage, "child")
    await waiting(stage, "parent")
    async with locked(stage, parent.run):
        new = await events.jobs.start(shop.child, "new")
        for _ in range(2):
            later = await events.jobs.start(shop.later, None, delay=0.1)
            assert await within(events.jobs.result(later, timeout=10), 5) == "begun"
        assert await stage.value("SELECT count(*) FROM events.run_queue WHERE run_id = $1", old) == 1
    with pytest.raises(JobCanceled):
        await within(events.jobs.result(old, timeout=10))
    await within(events.jobs.result(new, timeout=10))


async def test_a_locked_child_of_a_run_to_be_cancelled_holds_up_no_other(stage: Stage) -> None:
    shop = Shop()
    events = await stage.running(shop.module)
    runs = [await events.jobs.start(shop.above, None) for _ in range(2)]
    in_the_way = await until(
        lambda: stage.value("SELECT run_id FROM events.run_queue WHERE parent_id = $1 AND state = 'w'", runs[0].run)
    )
    await until(lambda: stage.value("SELECT count(*) = 4 FROM events.run_queue WHERE state = 'w'"))
    async with locked(stage, in_the_way):
        await stage.rows("UPDATE events.run_queue SET cancel_reason = 'over' WHERE parent_id IS NULL")
        with pytest.raises(JobCanceled, match="over"):
            await within(events.jobs.result(runs[1], timeout=10), 5)
        assert await stage.value("SELECT count(*) FROM events.run_queue WHERE run_id = $1", runs[0].run) == 1
    with pytest.raises(JobCanceled, match="over"):
        await within(events.jobs.result(runs[0], timeout=10))
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_queue"))
    assert await stage.value("SELECT count(*) = 4 FROM events.run_end WHERE state = 'canceled'")


async def test_it_is_tried_again_soon_though_nobody_tells(stage: Stage) -> None:
    """By the process itself: whoever has had the row locked has nothing to say."""
    shop = Shop()
    events = await stage.running(shop.module)
    await events.jobs.start(shop.above, None)
    child = await waiting(stage, "asleep")
    parent = await waiting(stage, "above")
    await events.stop()
    idle = await stage.idle(shop.module)
    await within(idle.drain_once())
    jobs: Any = idle.runtime.jobs
    due, now = jobs.work._due, asyncio.get_running_loop().time
    async with locked(stage, child):
        await stage.rows("UPDATE events.run_queue SET cancel_reason = 'over' WHERE run_id = $1", parent)
        waits = []
        for _ in range(8):
            due._cancels_at = 0.0
            await due.promote()
            waits.append(due._next_look - now())
        assert waits[0] < 0.1 < waits[-1] < 1
        assert await stage.value("SELECT count(*) FROM events.run_end") == 0
    await due.promote(full=True)
    assert await stage.value("SELECT count(*) = 2 FROM events.run_end WHERE state = 'canceled'")


async def test_ends_that_wait_for_a_key_of_the_applications_hold_up_no_other(stage: Stage) -> None:
    """Each waits for its turn briefly, and between two of them the others are recorded."""
    telling = Telling()
    events = await stage.running(telling.module)
    jobs: Any = events.runtime.jobs
    settling = jobs.work._settling
    async with events.session() as session:
        await events.publisher(session)(Alone(order="a"))
        runs = [await events.jobs.start(telling.tell, number) for number in range(12)]
        await until(lambda: len(telling.told) == len(runs))
        await until(lambda: settling._results and all(result.put_off for result in settling._results.values()))
        for _ in range(3):
            plain = await events.jobs.start(telling.plain, None)
            assert await within(events.jobs.result(plain, timeout=10), 8) == "plain"
        await until(lambda: all(result.put_off > 1 for result in settling._results.values()))
        assert await stage.value("SELECT count(*) FROM events.run_end") == 3
        await session.commit()
    assert [await within(events.jobs.result(run, timeout=10)) for run in runs] == list(range(12))
    assert sorted(telling.told) == list(range(12))
    assert await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.order.alone'") == 13
    assert events.runtime.counters.stale_settles == 0


async def test_a_parent_that_pauses_while_it_is_locked_holds_up_no_other(stage: Stage) -> None:
    shop, begun, go_on = Shop(), list[int](), asyncio.Event()

    @shop.module.job(retry=Retry(1))
    async def pausing(job: JobContext[int]) -> str:
        await job.spawn(shop.asleep, None)
        begun.append(job.input)
        await go_on.wait()
        return await job.signal("go on", str)

    events = await stage.running(shop.module)
    jobs: Any = events.runtime.jobs
    settling = jobs.work._settling
    runs = [await events.jobs.start(pausing, number) for number in range(4)]
    await until(lambda: len(begun) == 4)
    async with contextlib.AsyncExitStack() as stack:
        for run in runs:
            await stack.enter_async_context(locked(stage, run.run))
        go_on.set()
        await until(lambda: len(settling._results) == 4)
        later = await events.jobs.start(shop.later, None)
        assert await within(events.jobs.result(later, timeout=10), 5) == "begun"
        await until(lambda: all(result.put_off > 1 for result in settling._results.values()))
    for run in runs:
        await events.jobs.signal(run, "go on", "gone")
    assert [await within(events.jobs.result(run, timeout=10)) for run in runs] == ["gone"] * 4
    assert events.runtime.counters.stale_settles == 0


async def test_a_run_that_is_due_and_locked_is_looked_for_until_it_is_found(stage: Stage) -> None:
    """However long ago it was due when the lock goes: not by the next poll."""
    shop = Shop()
    events = await stage.idle(shop.module)
    await within(events.drain_once())
    jobs: Any = events.runtime.jobs
    due = jobs.work._due
    started = await events.jobs.start(shop.later, None, delay=3600)
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp() - interval '1 s'")
    async with locked(stage, started.run):
        for _ in range(2):
            assert await due.promote() == 0
        await stage.rows("SELECT pg_sleep(1.5)")  # so that it was due before what a quick search looks back to
        for _ in range(3):
            assert await due.promote() == 0
            assert due._locked
    assert await due.promote() == 1


async def test_who_is_to_be_cancelled_is_found_while_another_is_locked(stage: Stage) -> None:
    """Though nobody tells, and leases are hardly ever renewed."""
    module, begun, go_on = Module("shop"), list[int](), asyncio.Event()

    @module.job(retry=Retry(1))
    async def work(job: JobContext[int]) -> None:
        begun.append(job.input)
        await go_on.wait()

    events = await stage.running(module, lease=3600.0, heartbeat=600.0)
    first, second = [await events.jobs.start(work, number) for number in range(2)]
    await until(lambda: len(begun) == 2)
    jobs: Any = events.runtime.jobs
    leases = jobs.work._leases
    async with locked(stage, first.run):
        await leases.renew()
        await until(lambda: leases._locked)
        leases._flag.clear()
        await stage.rows("UPDATE events.run_queue SET cancel_reason = 'over' WHERE run_id = $1", second.run)
        with pytest.raises(JobCanceled, match="over"):
            await within(events.jobs.result(second, timeout=10))
    go_on.set()
    await within(events.jobs.result(first, timeout=10))


async def test_a_family_of_which_some_are_always_locked_is_waited_for_a_moment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of many children are recorded all the time: there may be no moment at which none of them is locked."""
    shop = Shop()
    events = await stage.running(shop.module)
    await events.jobs.start(shop.above, None)
    child, parent = await waiting(stage, "asleep"), await waiting(stage, "above")
    await events.stop()
    monkeypatch.setattr(canceled_runs, "BRIEFLY", "10000")
    database = Database(stage.url)
    await database.open()
    async with locked(stage, child):
        await stage.rows("UPDATE events.run_queue SET cancel_reason = 'over' WHERE run_id = $1", parent)
        ending = asyncio.create_task(canceled_runs.CanceledRuns(database, Statements()).end())
        await until(lambda: stage.value(f"SELECT ({WAITING}) = 1"))
    assert await within(ending) == (2, False)
    await database.close()
    assert await stage.value("SELECT count(*) = 2 FROM events.run_end WHERE state = 'canceled'")


async def test_who_asks_for_a_run_that_is_locked_is_told_to_try_again(stage: Stage) -> None:
    shop = Shop()
    events = await stage.idle(shop.module)
    started = await events.jobs.start(shop.later, None, delay=3600)
    async with locked(stage, started.run):
        for asked in (
            events.jobs.cancel(started),
            events.jobs.signal(started, "go on", "x"),
            events.jobs.reschedule(started, delay=1),
        ):
            with pytest.raises(OperationUnavailable):
                await within(asked)
    assert await events.jobs.cancel(started)
