"""At most so many runs of a key at once, in all processes together, whatever dies; and what becomes of those above."""

import asyncio
import collections
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from fastapi_events import Concurrency, Dedupe, HandlerSession, JobCanceled, JobContext, Module, Retry, fixed
from fastapi_events.errors import JobCollisionError
from tests.delivery.stage import Stage, until, within

SLOW: dict[str, Any] = {"poll_interval": 600.0, "poll_interval_degraded": 600.0}


class Restock(BaseModel):
    """What is limited by its sku."""

    sku: str
    number: int = 0


class Counter:
    """How many were at work at once, by key, in all instances of this process."""

    def __init__(self) -> None:
        self.now: collections.Counter[str] = collections.Counter()
        self.most: collections.Counter[str] = collections.Counter()
        self.seen: list[int] = []

    async def work(self, restock: Restock, meanwhile: Callable[[], Any] = lambda: asyncio.sleep(0)) -> None:
        self.now[restock.sku] += 1
        self.most[restock.sku] = max(self.most[restock.sku], self.now[restock.sku])
        try:
            await meanwhile()
        finally:
            self.now[restock.sku] -= 1
        self.seen.append(restock.number)


def limited(counter: Counter, limit: int = 1, **options: Any) -> Module:
    """A module with one job that is limited by its sku."""
    module = Module("shop")

    @module.job("shop.restock", concurrency=Concurrency(key=lambda restock: restock.sku, limit=limit), **options)
    async def restock(job: JobContext[Restock]) -> None:
        await counter.work(job.input, lambda: asyncio.sleep(0.002))

    return module


def job_of(events: Any) -> Any:
    return events.registry.jobs["shop.restock"]


async def queue(stage: Stage) -> list[tuple[str, bool]]:
    rows = await stage.rows("SELECT state, holds FROM events.run_queue ORDER BY number")
    return [(row["state"].decode(), row["holds"]) for row in rows]


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_than_the_limit_are_at_work_in_all_processes(stage: Stage, limit: int) -> None:
    counter = Counter()
    instances = [await stage.running(limited(counter, limit), concurrency={"batch": 10}) for _ in range(3)]
    runs = [Restock(sku=f"s{number % 3}", number=number) for number in range(120)]
    for start in range(0, 120, 40):
        one = instances[start // 40]
        await one.jobs.start_many(job_of(one), runs[start : start + 40])
    await until(lambda: len(counter.seen) == 120)
    assert sorted(counter.seen) == list(range(120))
    assert max(counter.most.values()) == limit
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_queue"))


@pytest.mark.parametrize("known", [True, False])
async def test_who_counted_before_another_let_runs_through_lets_none_through(stage: Stage, known: bool) -> None:
    """The statement of one process begins, the whole one of another comes in between, and then it goes on."""
    events = await stage.idle(limited(Counter()))
    await events.jobs.start_many(job_of(events), [Restock(sku="a", number=number) for number in range(2)])
    await stage.rows("INSERT INTO events.run_turn (job_id, gate) SELECT job_id, gate FROM events.run_turn")
    if known:
        await stage.rows(
            "INSERT INTO events.run_limit (job_id, gate) SELECT DISTINCT job_id, gate FROM events.run_turn"
        )
    statement = events.runtime.statements["jobs/admit_runs"]
    paused = statement.replace(
        "SELECT * FROM unnest(", "SELECT j.* FROM (SELECT pg_advisory_xact_lock(7)) held, unnest(", 1
    )
    job = await stage.value("SELECT id FROM events.job")
    given = ([job], [1], [None], [None], 1, 10)
    holder, other = await asyncpg.connect(stage.url), await asyncpg.connect(stage.url)
    await holder.fetch("SELECT pg_advisory_lock(7)")
    waiting = asyncio.create_task(other.fetchrow(paused, *given))
    await until(lambda: stage.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"))
    [first] = await stage.rows(statement, *given)
    assert (first["ready"], first["left_alone"]) == (1, False)
    await holder.fetch("SELECT pg_advisory_unlock(7)")
    second = await within(waiting)
    assert (second["ready"], second["left_alone"]) == (0, True)
    assert await queue(stage) == [("r", True), ("g", False)]
    await holder.close()
    await other.close()


async def test_a_key_that_nobody_knew_is_opened_at_once(stage: Stage) -> None:
    events = await stage.idle(limited(Counter(), limit=2))
    runs = [Restock(sku=str(number % 50), number=number) for number in range(150)]
    await events.jobs.start_many(job_of(events), runs)
    statement = events.runtime.statements["jobs/admit_runs"]
    job = await stage.value("SELECT id FROM events.job")
    [row] = await stage.rows(statement, [job], [2], [None], [None], 500, 1000)
    assert (row["ready"], row["more"], row["left_alone"]) == (100, False, False)
    assert await stage.value("SELECT count(*) FROM events.run_turn") == 0
    assert await stage.value("SELECT count(*) FROM events.run_queue WHERE holds") == 100


async def test_a_turn_where_nobody_waits_writes_nothing(stage: Stage) -> None:
    events = await stage.idle(limited(Counter()))
    await within(events.drain_once())
    job = await stage.value("SELECT id FROM events.job")
    await stage.rows("INSERT INTO events.run_turn (job_id, gate) SELECT $1, 'c' || n FROM generate_series(1, 9) n", job)
    statement = events.runtime.statements["jobs/admit_runs"]
    [row] = await stage.rows(statement, [job], [1], [None], [None], 500, 10)
    assert (row["ready"], row["more"], row["left_alone"], row["seconds"]) == (0, False, False, None)
    assert await stage.value("SELECT count(*) FROM events.run_turn") == 0
    assert await stage.value("SELECT count(*) FROM events.run_limit") == 0


async def test_those_of_a_key_go_in_their_order(stage: Stage) -> None:
    counter = Counter()
    events = await stage.idle(limited(counter), concurrency={"batch": 20})
    await events.jobs.start_many(job_of(events), [Restock(sku="a", number=number) for number in range(20)])
    await events.jobs.start(job_of(events), Restock(sku="a", number=100), priority=5)
    await within(events.drain_once())
    assert counter.seen == [100, *range(20)]


async def test_a_key_that_is_busy_holds_no_other_up(stage: Stage) -> None:
    counter, go_on = Counter(), asyncio.Event()
    module = Module("shop")

    @module.job("shop.restock", concurrency=Concurrency(key=lambda r: None if r.sku == "free" else r.sku))
    async def restock(job: JobContext[Restock]) -> None:
        await counter.work(job.input, go_on.wait if job.input.sku == "busy" else lambda: asyncio.sleep(0))

    events = await stage.running(module, **SLOW)
    await events.jobs.start_many(restock, [Restock(sku="busy") for _ in range(50)])
    await until(lambda: counter.now["busy"] == 1)
    await events.jobs.start_many(restock, [Restock(sku="other", number=n) for n in (1, 2)])
    await events.jobs.start_many(restock, [Restock(sku="free", number=n) for n in (3, 4)])
    await until(lambda: len(counter.seen) == 4)
    assert counter.now["busy"] == counter.most["busy"] == 1
    go_on.set()
    await until(lambda: len(counter.seen) == 54)


async def test_keys_are_each_tenants_own(stage: Stage) -> None:
    module = Module("shop")

    @module.job("shop.restock", concurrency=Concurrency(key=lambda restock: restock.sku, on_collision="replace"))
    async def restock(job: JobContext[Restock]) -> None: ...

    events = await stage.idle(module)
    for tenant in ("acme", "nordwind", "acme"):
        await events.jobs.start(restock, Restock(sku="a"), tenant_id=tenant)
    rows = await stage.rows("SELECT r.tenant_id FROM events.run_queue q JOIN events.run r ON r.id = q.run_id")
    assert sorted(row["tenant_id"] for row in rows) == ["acme", "nordwind"]


async def test_without_a_key_it_is_the_whole_job(stage: Stage) -> None:
    counter, module = Counter(), Module("shop")

    @module.job("shop.restock", concurrency=Concurrency(limit=2))
    async def restock(job: JobContext[Restock]) -> None:
        await counter.work(Restock(sku="", number=job.input.number), lambda: asyncio.sleep(0.002))

    first = await stage.running(module, concurrency={"batch": 10})
    await stage.running(module, concurrency={"batch": 10})
    await first.jobs.start_many(restock, [Restock(sku=str(number), number=number) for number in range(30)])
    await until(lambda: len(counter.seen) == 30)
    assert counter.most[""] == 2


async def test_a_freed_place_is_taken_at_once(stage: Stage) -> None:
    counter, gates = Counter(), [asyncio.Event() for _ in range(3)]
    module = Module("shop")

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[Restock]) -> None:
        await counter.work(job.input, gates[job.input.number].wait)

    events = await stage.running(module, **SLOW)
    await stage.running(module, **SLOW)
    await events.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(3)])
    for number, gate in enumerate(gates):
        await until(lambda: counter.now[""] == 1)
        gate.set()
        await until(lambda done=number + 1: len(counter.seen) == done)


async def test_one_that_sleeps_keeps_its_place_and_one_that_backs_off_does_not(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.job("shop.restock", concurrency=Concurrency(key=lambda r: r.sku), retry=Retry(2, fixed(3600)))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append((job.input.sku, job.input.number, job.attempt))
        if job.input.number == 0 and job.input.sku == "sleeps":
            await job.sleep(3600)
        elif job.input.number == 0 and job.attempt == 1:
            raise ValueError("later")

    events = await stage.idle(module)
    for sku in ("sleeps", "fails"):
        await events.jobs.start_many(restock, [Restock(sku=sku, number=number) for number in range(2)])
    await within(events.drain_once())
    assert seen == [("sleeps", 0, 1), ("fails", 0, 1), ("fails", 1, 1)]
    assert await queue(stage) == [("t", True), ("g", False), ("t", False)]
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
    await stage.rows("UPDATE events.run_step SET due_at = clock_timestamp()")
    await within(events.drain_once())
    assert sorted(seen[3:]) == [("fails", 0, 2), ("sleeps", 0, 1), ("sleeps", 1, 1)]
    assert await queue(stage) == []


async def test_one_that_is_tried_again_is_the_first_in_line(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.job("shop.restock", concurrency=Concurrency(), retry=Retry(3, fixed(0)))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append((job.input.number, job.attempt))
        if job.input.number == 0 and job.attempt < 3:
            raise ValueError("again")

    events = await stage.idle(module)
    await events.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(3)])
    await within(events.drain_once())
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1)]


async def test_a_start_in_the_future_takes_no_place_before_its_time(stage: Stage) -> None:
    counter = Counter()
    events = await stage.idle(limited(counter), concurrency={"batch": 10})
    later = [Restock(sku="a", number=number) for number in range(5)]
    await events.jobs.start_many(job_of(events), later, delay=3600)
    await events.jobs.start(job_of(events), Restock(sku="a", number=9))
    await within(events.drain_once())
    assert counter.seen == [9]
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp()")
    await within(events.drain_once())
    assert counter.seen == [9, 0, 1, 2, 3, 4]
    assert counter.most["a"] == 1


async def test_what_a_vanished_process_had_is_taken_over_and_leaks_no_place(stage: Stage) -> None:
    module, seen, go_on = Module("shop"), [], asyncio.Event()

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)
        if len(seen) == 1:
            await go_on.wait()

    first = await stage.running(module, heartbeat=2.0)
    await first.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(3)])
    await until(lambda: len(seen) == 1)
    pools: Any = first.runtime.jobs
    for pool in pools.work.pools:
        pool.in_hand.clear()  # what has vanished records nothing
    go_on.set()
    await first.stop()
    assert await queue(stage) == [("x", True), ("g", False), ("g", False)]
    await stage.rows("UPDATE events.run_queue SET due_at = '-infinity' WHERE state = 'x'")
    second = await stage.idle(module)
    await within(second.drain_once())
    assert seen == [0, 0, 1, 2]
    assert await queue(stage) == []


async def test_what_a_process_gives_back_keeps_its_place(stage: Stage) -> None:
    module, seen, begun = Module("shop"), [], asyncio.Event()

    @module.job("shop.restock", concurrency=Concurrency(limit=2))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)
        begun.set()
        if len(seen) == 1:
            await asyncio.Event().wait()

    first = await stage.running(module, concurrency={"batch": 1}, shutdown_grace=0.05)
    await first.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(4)])
    await within(begun.wait())
    await within(first.stop())
    states = await queue(stage)
    assert sum(holds for _, holds in states) <= 2
    assert "x" not in {state for state, _ in states}
    second = await stage.idle(module)
    await within(second.drain_once())
    assert sorted(seen) == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("what", ["run_queue WHERE state = 'x'", "run_turn", "run_limit"])
async def test_a_row_that_vanished_blocks_a_key_for_no_longer_than_a_poll(stage: Stage, what: str) -> None:
    module, seen, go_on = Module("shop"), [], asyncio.Event()

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)
        if job.input.number == 0:
            await go_on.wait()

    events = await stage.running(module, **({} if "queue" in what else SLOW))
    await events.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(3)])
    await until(lambda: len(seen) == 1)
    await stage.rows(f"DELETE FROM events.{what}")
    if "queue" not in what:
        go_on.set()
    await until(lambda: seen == [0, 1, 2])
    go_on.set()


async def test_a_turn_that_vanished_is_given_anew(stage: Stage) -> None:
    counter = Counter()
    idle = await stage.idle(limited(counter))
    await idle.jobs.start(job_of(idle), Restock(sku="a"))
    await stage.rows("DELETE FROM events.run_turn")
    await stage.running(limited(counter))
    await until(lambda: len(counter.seen) == 1)


async def test_what_waits_of_a_job_that_is_not_limited_any_more_is_run(stage: Stage) -> None:
    counter, module, seen = Counter(), Module("shop"), []
    before = await stage.idle(limited(counter))
    await before.jobs.start_many(job_of(before), [Restock(sku="a", number=number) for number in range(5)])

    @module.job("shop.restock")
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)

    await stage.running(module)
    await until(lambda: len(seen) == 5)


@pytest.mark.parametrize("which", ["waiting", "at work"])
async def test_canceling_frees_everything(stage: Stage, which: str) -> None:
    module, seen, begun = Module("shop"), [], asyncio.Event()

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)
        begun.set()
        if job.input.number == 0:
            await asyncio.Event().wait()

    events = await stage.running(module, **SLOW)
    runs = await events.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(3)])
    await within(begun.wait())
    if which == "waiting":
        assert await events.jobs.cancel(runs[1])
        assert (await events.jobs.get(runs[1])).state == "canceled"
    await events.jobs.cancel(runs[0])
    await within(events.jobs.result(runs[2], timeout=10))
    assert seen == ([0, 2] if which == "waiting" else [0, 1, 2])
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_queue"))


async def test_gates_that_nobody_needs_are_removed(stage: Stage) -> None:
    counter = Counter()
    events = await stage.running(limited(counter))
    await events.jobs.start_many(job_of(events), [Restock(sku=str(number), number=number) for number in range(20)])
    await until(lambda: len(counter.seen) == 20)
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_limit"))
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_turn"))


def colliding(on_collision: Any, limit: int = 1, seen: list[int] | None = None) -> Module:
    """A module with a job that rejects or replaces; it waits until it is cancelled if its number is 0."""
    module = Module("shop")

    @module.job("shop.restock", concurrency=Concurrency(key=lambda r: r.sku, limit=limit, on_collision=on_collision))
    async def restock(job: JobContext[Restock]) -> None:
        if seen is not None:
            seen.append(job.input.number)
        if job.input.number == 0:
            await asyncio.Event().wait()

    return module


async def test_reject_names_the_run_that_is_there(stage: Stage) -> None:
    events = await stage.idle(colliding("reject", limit=2))
    first = await events.jobs.start(job_of(events), Restock(sku="a", number=1))
    await events.jobs.start(job_of(events), Restock(sku="a", number=2))
    with pytest.raises(JobCollisionError, match=r"shop.restock.*2 of 2 runs of the key 'a'") as caught:
        await events.jobs.start(job_of(events), Restock(sku="a", number=3))
    assert caught.value.run == first.run
    await events.jobs.start(job_of(events), Restock(sku="b", number=4))
    with pytest.raises(JobCollisionError, match="3 starts of the key 'c' in one call"):
        await events.jobs.start_many(job_of(events), [Restock(sku="c", number=number) for number in range(3)])
    await within(events.drain_once())
    await events.jobs.start(job_of(events), Restock(sku="a", number=5))
    assert await stage.value("SELECT count(*) FROM events.run") == 4


async def test_what_was_rejected_leaves_no_dedupe_key(stage: Stage) -> None:
    module = Module("shop")

    @module.job("shop.restock", dedupe=Dedupe(), concurrency=Concurrency(on_collision="reject"))
    async def restock(job: JobContext[Restock]) -> None: ...

    events = await stage.idle(module)
    first = await events.jobs.start(restock, Restock(sku="a"))
    assert (await events.jobs.start(restock, Restock(sku="a"))).run == first.run
    async with events.session() as session:
        jobs = events.job_client(session)
        with pytest.raises(JobCollisionError):
            await jobs.start(restock, Restock(sku="b"))
        await session.commit()
    await within(events.drain_once())
    assert not (await events.jobs.start(restock, Restock(sku="b"))).existing


async def test_canceling_what_had_passed_gives_its_place_on(stage: Stage) -> None:
    counter, module = Counter(), Module("shop")

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[Restock]) -> None:
        if job.input.number == 0:
            await job.sleep(3600)
        await counter.work(job.input)

    events = await stage.idle(module)
    runs = await events.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(2)])
    await within(events.drain_once())
    assert await queue(stage) == [("t", True), ("g", False)]
    await events.jobs.cancel(runs[0])
    await within(events.drain_once())
    assert counter.seen == [1]


async def test_what_was_rejected_leaves_the_transaction_as_it_was(stage: Stage) -> None:
    events = await stage.idle(colliding("reject"))
    first = await events.jobs.start(job_of(events), Restock(sku="a", number=1))
    async with events.session() as session:
        jobs = events.job_client(session)
        with pytest.raises(JobCollisionError):
            await jobs.start(job_of(events), Restock(sku="a", number=2))
        other = await jobs.start(job_of(events), Restock(sku="b", number=3))
        await session.commit()
    assert await stage.value("SELECT array_agg(id ORDER BY number) FROM events.run") == [first.run, other.run]


async def test_of_two_that_start_at_once_one_is_rejected(stage: Stage) -> None:
    first, second = await stage.idle(colliding("reject")), await stage.idle(colliding("reject"))
    for commits in (True, False):
        sku = str(commits)
        await first.jobs.cancel(await first.jobs.start(job_of(first), Restock(sku=sku)))  # the key is known by now
        async with first.session() as session:
            mine = await first.job_client(session).start(job_of(first), Restock(sku=sku))
            waiting = asyncio.create_task(second.jobs.start(job_of(second), Restock(sku=sku)))
            await until(lambda: stage.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'"))
            await (session.commit() if commits else session.rollback())
        if commits:
            with pytest.raises(JobCollisionError) as caught:
                await within(waiting)
            assert caught.value.run == mine.run
        else:
            await within(waiting)


async def test_a_start_that_is_not_committed_holds_no_run_up(stage: Stage) -> None:
    counter, module = Counter(), Module("shop")

    @module.job("shop.restock", concurrency=Concurrency(key=lambda r: r.sku, limit=2, on_collision="reject"))
    async def restock(job: JobContext[Restock]) -> None:
        await counter.work(job.input)

    idle = await stage.idle(module)
    await idle.jobs.start(restock, Restock(sku="a", number=1))
    async with idle.session() as session:
        await idle.job_client(session).start(restock, Restock(sku="a", number=2))
        running = await stage.running(module)
        await until(lambda: counter.seen == [1])
        await until(lambda: stage.value("SELECT count(*) FROM events.run_end"))
        assert running.runtime.counters.stale_settles == 0
        await session.rollback()


async def test_replace_cancels_the_oldest_that_waits(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(colliding("replace", limit=2, seen=seen))
    runs = [await events.jobs.start(job_of(events), Restock(sku="a", number=number)) for number in (1, 2)]
    async with events.session() as session:
        await events.job_client(session).start(job_of(events), Restock(sku="a", number=3))
        await session.rollback()
    assert (await events.jobs.get(runs[0])).state == "pending"
    third = await events.jobs.start(job_of(events), Restock(sku="a", number=3))
    view = await events.jobs.get(runs[0])
    assert (view.state, view.note) == ("canceled", f"replaced by run {third.run}")
    await within(events.drain_once())
    assert seen == [2, 3]


async def test_replace_cancels_one_at_work_and_waits_for_its_end(stage: Stage) -> None:
    seen: list[int] = []
    first = await stage.running(colliding("replace", seen=seen), **SLOW)
    second = await stage.idle(colliding("replace"))
    old = await first.jobs.start(job_of(first), Restock(sku="a", number=0))
    await until(lambda: seen == [0])
    new = await second.jobs.start(job_of(second), Restock(sku="a", number=1))
    with pytest.raises(JobCanceled, match=f"replaced by run {new.run}"):
        await within(first.jobs.result(old, timeout=10))
    await within(first.jobs.result(new, timeout=10))
    assert seen == [0, 1]


async def test_replacing_holds_nothing_that_a_worker_writes(stage: Stage) -> None:
    module, begun, go_on = Module("shop"), asyncio.Event(), asyncio.Event()

    @module.job("shop.restock", concurrency=Concurrency(on_collision="replace"))
    async def restock(job: JobContext[Restock]) -> int:
        begun.set()
        await go_on.wait()
        return job.input.number

    events = await stage.running(module)
    old = await events.jobs.start(restock, Restock(sku="", number=1))
    await within(begun.wait())
    async with events.session() as session:
        await events.job_client(session).start(restock, Restock(sku="", number=2))
        go_on.set()
        assert await within(events.jobs.result(old, timeout=10), 5) == 1
        await session.commit()


async def test_of_many_in_one_call_the_last_replace_the_others(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(colliding("replace", limit=2, seen=seen))
    old = await events.jobs.start(job_of(events), Restock(sku="a", number=9))
    runs = await events.jobs.start_many(job_of(events), [Restock(sku="a", number=n) for n in (1, 2, 3, 4)])
    assert (await events.jobs.get(old)).note == f"replaced by run {runs[1].run}"
    assert (await events.jobs.get(runs[0])).note == f"replaced by run {runs[2].run}"
    assert (await events.jobs.get(runs[1])).note == f"replaced by run {runs[3].run}"
    await within(events.drain_once())
    assert sorted(seen) == [3, 4]


async def test_with_a_session_its_place_is_free_by_its_commit(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[Restock], session: HandlerSession) -> None:
        seen.append(job.input.number)

    events = await stage.running(module, **SLOW)
    await events.jobs.start_many(restock, [Restock(sku="", number=number) for number in range(3)])
    await until(lambda: seen == [0, 1, 2])


async def test_replacing_one_that_waits_for_its_children_closes_them_too(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.job("shop.child")
    async def child(job: JobContext[Restock]) -> None:
        await job.sleep(3600)

    @module.job("shop.restock", concurrency=Concurrency(on_collision="replace"))
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.number)
        if job.input.number == 0:
            await job.spawn(child, job.input, on_parent_close="cancel")
            await job.gather_children()

    events = await stage.idle(module)
    old = await events.jobs.start(restock, Restock(sku="", number=0))
    await within(events.drain_once())
    new = await events.jobs.start(restock, Restock(sku="", number=1))
    await within(events.drain_once())
    assert (await events.jobs.get(old)).note == f"replaced by run {new.run}"
    assert (await events.jobs.get(new)).state == "completed"
    assert await stage.value("SELECT count(*) FROM events.run_end WHERE state = 'canceled'") == 2
    assert await queue(stage) == []


async def test_a_child_is_a_run_of_its_own_or_none(stage: Stage) -> None:
    module, errors = Module("shop"), []

    @module.job("shop.child", dedupe=Dedupe(key=lambda restock: restock.sku))
    async def child(job: JobContext[Restock]) -> None: ...

    @module.job("shop.restock")
    async def restock(job: JobContext[Restock]) -> None:
        try:
            await job.spawn(child, Restock(sku="a", number=1))
        except JobCollisionError as error:
            errors.append(error.run)

    events = await stage.idle(module)
    there = await events.jobs.start(child, Restock(sku="a"), delay=3600)
    parent = await events.jobs.start(restock, Restock(sku=""))
    await within(events.drain_once())
    assert errors == [there.run]
    assert (await events.jobs.get(parent)).state == "completed"
    assert await stage.value("SELECT count(*) FROM events.run") == 2
