"""A transaction of the application's that replaces a run holds nothing that workers write, however long it goes on."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fastapi_events import Concurrency, Events, JobContext, Module, Retry, Started, fixed
from fastapi_events.errors import JobCanceled
from fastapi_events.store.run_gates import RunGates
from tests.delivery.stage import SLOW, Placed, Stage, until, within

OLD = "SELECT q.run_id FROM events.run_queue q JOIN events.job j ON j.id = q.job_id WHERE j.name = 'shop.work' "


class Shop:
    """A job whose newest run replaces the one before, which is on its way somewhere."""

    def __init__(self) -> None:
        self.module, self.go_on, self.seen = Module("shop"), asyncio.Event(), list[str]()

        @self.module.job("shop.child")
        async def child(job: JobContext[str]) -> None:
            await self.go_on.wait()

        @self.module.job("shop.work", concurrency=Concurrency(on_collision="replace"), retry=Retry(2, fixed(3600)))
        async def work(job: JobContext[str]) -> None:
            self.seen.append(job.input)
            if job.input == "children":
                await job.spawn(child, "x")
                await job.gather_children()
            elif job.input == "event":
                await job.wait_for(Placed, key="a")
            elif job.input == "signal":
                await job.signal("go", str)
            elif job.input == "retry":
                raise ValueError("not yet")

        @self.module.job("shop.parent", retry=Retry(1))
        async def parent(job: JobContext[str]) -> None:
            await job.spawn(work, "event")
            await job.gather_children()

        self.child: Any = child
        self.work: Any = work
        self.parent: Any = parent

    async def on_its_way(self, stage: Stage, events: Events, where: str) -> Any:
        """The run that is to be replaced, once it has got to where it waits."""
        if where == "child":
            await events.jobs.start(self.parent, where)
            await until(lambda: stage.value(OLD + "AND q.state = 'w'"))
        else:
            await events.jobs.start(self.work, where)
            state = "t" if where == "retry" else "w"
            await until(lambda: stage.value(OLD + f"AND q.state = '{state}'"))
        return await stage.value(OLD)


WAYS = ["children", "event", "signal", "retry", "child"]


@pytest.mark.parametrize("where", WAYS)
async def test_what_workers_write_is_not_locked(stage: Stage, where: str) -> None:
    shop = Shop()
    events = await stage.running(shop.module, **SLOW)
    old = await shop.on_its_way(stage, events, where)
    async with events.session() as session:
        new = await events.job_client(session).start(shop.work, "new")
        await stage.rows("SELECT FROM events.run_queue WHERE run_id = $1 FOR UPDATE NOWAIT", old)
        await session.commit()
    with pytest.raises(JobCanceled, match=f"replaced by run {new.run}"):
        await within(events.jobs.result(old, timeout=10))
    await within(events.jobs.result(new, timeout=10))
    shop.go_on.set()
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_queue"))
    assert shop.seen.count("new") == 1


async def test_a_child_of_what_is_being_replaced_ends_meanwhile(stage: Stage) -> None:
    """Its end is news to the run that waits for it, and is recorded together with the ends of others."""
    shop = Shop()
    events = await stage.running(shop.module)
    old = await shop.on_its_way(stage, events, "children")
    child = await stage.value("SELECT id FROM events.run WHERE parent_id = $1", old)
    async with events.session() as session:
        await events.job_client(session).start(shop.work, "new")
        shop.go_on.set()
        await within(events.jobs.result(child, timeout=10), 10)
        await within(events.jobs.result(old, timeout=10), 10)
        await session.rollback()
    assert (await events.jobs.get(old)).state == "completed"


@pytest.mark.parametrize("where", WAYS)
async def test_it_is_found_by_polling_when_nobody_tells(stage: Stage, where: str) -> None:
    shop = Shop()
    events = await stage.running(shop.module)
    other = await stage.idle(shop.module, notify="off")
    old = await shop.on_its_way(stage, events, where)
    new: Started[None] = await other.jobs.start(shop.work, "new")
    await until(lambda: stage.value("SELECT note FROM events.run_end WHERE run_id = $1", old))
    assert (await events.jobs.get(old)).note == f"replaced by run {new.run}"
    shop.go_on.set()


async def test_what_was_said_is_forgotten_with_the_run(stage: Stage) -> None:
    """So that nobody walks what has been said to runs that have ended, however many have been replaced."""
    shop = Shop()
    events = await stage.running(shop.module, **SLOW)
    old = await shop.on_its_way(stage, events, "event")
    await stage.rows(
        "INSERT INTO events.run_replaced (run_id, reason) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 150)"
    )
    await events.jobs.start(shop.work, "new")
    await until(lambda: stage.value("SELECT note FROM events.run_end WHERE run_id = $1", old))
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_replaced"))


async def test_a_run_that_is_due_and_locked_is_asked_for_ever_more_rarely(stage: Stage) -> None:
    """By a transaction that replaces it, say, until that ends; and what is due behind it does not wait for that."""
    shop = Shop()
    events = await stage.idle(shop.module)
    await within(events.drain_once())
    old = await events.jobs.start(shop.work, "old", delay=3600)
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp()")
    jobs: Any = events.runtime.jobs
    due, now = jobs.work._due, asyncio.get_running_loop().time
    async with events.session() as session:
        await events.job_client(session).start(shop.work, "new")
        waits = []
        for _ in range(5):
            assert await due.promote() == 0
            waits.append(due._next_look - now())
        assert waits == sorted(waits)
        assert waits[-1] > 10 * waits[0]
        await events.jobs.start(shop.child, "x", delay=0.2)
        await due.promote()
        assert due._next_look - now() <= 0.2
        await session.rollback()
    assert await due.promote() >= 1
    assert (await events.jobs.get(old)).state == "pending"


async def test_who_sees_an_older_state_does_not_start_a_second_one_beside(stage: Stage) -> None:
    """Also when nobody has needed the row by which starts of a key know of each other, and it was removed."""
    module = Module("shop")

    @module.job("shop.alone", concurrency=Concurrency(on_collision="reject"))
    async def alone(job: JobContext[str]) -> None: ...

    events = await stage.idle(module)
    gates = RunGates(events.runtime.database, events.runtime.statements)
    async with events.session() as session:
        connection = await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        await connection.execute(text("SELECT count(*) FROM events.run"))
        await events.jobs.start(alone, "first")
        await gates.prune()
        with pytest.raises(DBAPIError, match="could not serialize access"):
            await events.job_client(session).start(alone, "second")
        await session.rollback()
    assert await stage.value("SELECT count(*) FROM events.run") == 1
    await within(events.drain_once())
    await gates.prune()
    assert await stage.value("SELECT count(*) FROM events.run_limit") == 0
