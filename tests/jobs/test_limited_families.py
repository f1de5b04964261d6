"""Children are bounded as any run is: they wait, are refused aloud, and never take the place of what they belong to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from fastapi_events import Concurrency, Dedupe, Events, Job, JobContext, Module, RateLimit, Retry
from fastapi_events.errors import CyclicSpawn, JobCollisionError
from tests.delivery.stage import Stage, until, within

HOLD = """INSERT INTO events.run_dedupe (job_id, key, run_id, until_started)
          SELECT id, 'a', gen_random_uuid(), false FROM events.job WHERE name = 'shop.child'"""
WAITS = """SELECT count(*) > 0 FROM pg_stat_activity
           WHERE query LIKE '%Takes keys for runs%' AND wait_event_type = 'Lock'"""
Work = Callable[[JobContext[Any]], Awaitable[Any]]


@asynccontextmanager
async def held(stage: Stage) -> AsyncIterator[None]:
    """The key of a child, taken by a transaction that is rolled back at the end."""
    connection = await asyncpg.connect(stage.url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(HOLD)
        yield
        await transaction.rollback()
    finally:
        await connection.close()


class Piece(BaseModel):
    """What is limited by its sku."""

    sku: str
    depth: int = 0


def by_sku(piece: Piece) -> str:
    return piece.sku


class Shop:
    """A parent that does as the test says, and a limited child that does too, if it is said."""

    def __init__(self, parent: Work, child: Work | None = None, **options: Any) -> None:
        self.module, self.seen, self.errors = Module("shop"), list[Any](), list[Any]()

        @self.module.job("shop.child", retry=Retry(1), **options)
        async def limited(job: JobContext[Piece]) -> int:
            self.seen.append(job.input.depth)
            if child is not None:
                await child(job)
            return job.input.depth

        @self.module.job("shop.parent", retry=Retry(1))
        async def above(job: JobContext[None]) -> Any:
            return await parent(job)

        self.child: Job[Piece, int] = limited
        self.parent: Job[None, Any] = above


async def state_of(events: Events, run: Any) -> str:
    return (await events.jobs.get(run)).state


async def ended(events: Events, run: Any) -> str:
    state = await state_of(events, run)
    return state if state in ("completed", "failed") else ""


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": Concurrency(key=by_sku)},
        {"rate_limit": RateLimit(100, per=1, key=by_sku)},
        {"dedupe": Dedupe(), "concurrency": Concurrency(key=by_sku), "rate_limit": RateLimit(100, per=1)},
    ],
)
async def test_limited_children_have_their_turns_and_their_parent_their_results(
    stage: Stage, options: dict[str, Any]
) -> None:
    at_work: list[int] = []
    most: list[int] = []

    async def counted(job: JobContext[Piece]) -> None:
        at_work.append(1)
        most.append(len(at_work))
        await asyncio.sleep(0.005)
        at_work.pop()

    async def parent(job: JobContext[None]) -> Any:
        for depth in range(6):
            await job.spawn(shop.child, Piece(sku="a", depth=depth))
        return await job.gather_children()

    shop = Shop(parent, counted, **options)
    events = await stage.running(shop.module)
    started = await events.jobs.start(shop.parent, None)
    assert await within(events.jobs.result(started, timeout=10)) == list(range(6))
    assert sorted(shop.seen) == list(range(6))
    if "concurrency" in options:
        assert max(most) == 1
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_queue"))
    assert await stage.value("SELECT count(*) FROM events.run_dedupe") == 0


async def test_a_child_that_is_rejected_is_none_and_the_parent_hears_of_it(stage: Stage) -> None:
    async def parent(job: JobContext[None]) -> Any:
        try:
            await job.spawn(shop.child, Piece(sku="a"))
        except JobCollisionError as error:
            shop.errors.append(error)
        await job.spawn(shop.child, Piece(sku="b"))
        return await job.gather_children()

    shop = Shop(parent, concurrency=Concurrency(key=by_sku, on_collision="reject"))
    events = await stage.idle(shop.module)
    there = await events.jobs.start(shop.child, Piece(sku="a", depth=7), delay=3600)
    started = await events.jobs.start(shop.parent, None)
    await within(events.drain_once())
    assert {error.run for error in shop.errors} == {there.run}
    assert str(shop.errors[0]).startswith("spawn(shop.child, ...): 1 of 1 runs of the key 'a' have not ended")
    assert await state_of(events, started) == "completed"
    assert await stage.value("SELECT count(*) FROM events.run WHERE parent_id IS NOT NULL") == 1


async def test_a_child_replaces_who_is_no_relative(stage: Stage) -> None:
    async def parent(job: JobContext[None]) -> Any:
        await job.spawn(shop.child, Piece(sku="a", depth=1))
        return await job.gather_children()

    shop = Shop(parent, concurrency=Concurrency(key=by_sku, on_collision="replace"))
    events = await stage.idle(shop.module)
    there = await events.jobs.start(shop.child, Piece(sku="a", depth=7), delay=3600)
    started = await events.jobs.start(shop.parent, None)
    await within(events.drain_once())
    assert await state_of(events, there) == "canceled"
    assert await events.jobs.result(started, timeout=1) == [1]


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_child_never_takes_the_place_of_what_is_above_it(stage: Stage, depth: int) -> None:
    """Its own end would come with that of the run, however far above it that is."""
    module, errors, seen = Module("shop"), list[JobCollisionError](), list[int]()

    @module.job("shop.work", concurrency=Concurrency(key=lambda piece: piece.sku, on_collision="replace"))
    async def work(job: JobContext[Piece]) -> None:
        seen.append(job.input.depth)
        last = job.input.depth == depth
        try:
            # The outermost has the key "a"; those between have keys of their own, and the last one wants it.
            below = Piece(sku="a" if job.input.depth + 1 == depth else f"s{job.input.depth}", depth=job.input.depth + 1)
            if not last:
                await job.spawn(work, below)
                await job.gather_children()
        except JobCollisionError as error:
            errors.append(error)

    events = await stage.idle(module)
    started = await events.jobs.start(work, Piece(sku="a"))
    await within(events.drain_once())
    [error] = errors
    assert error.run == started.run
    assert f"it would take the place of run {started.run}, which is above it" in str(error)
    assert await state_of(events, started) == "completed"
    assert max(seen) == depth - 1


async def test_a_child_that_would_wait_for_what_waits_for_it_is_refused(stage: Stage) -> None:
    module, errors, seen = Module("shop"), list[CyclicSpawn](), list[int]()

    @module.job("shop.work", concurrency=Concurrency(key=lambda piece: piece.sku, limit=2))
    async def work(job: JobContext[Piece]) -> None:
        seen.append(job.input.depth)
        try:
            await job.spawn(work, Piece(sku="a", depth=job.input.depth + 1))
            await job.gather_children()
        except CyclicSpawn as error:
            errors.append(error)

    events = await stage.idle(module)
    started = await events.jobs.start(work, Piece(sku="a"))
    await within(events.drain_once())
    [error] = errors
    assert "its Concurrency allows 2 at work of the key 'a'. Give it another key" in str(error)
    assert await state_of(events, started) == "completed"
    assert max(seen) == 1, "there was room for one child, and for no further one"


async def test_a_run_may_leave_its_successor_that_begins_after_it(stage: Stage) -> None:
    module, seen = Module("shop"), list[int]()

    @module.job("shop.work", concurrency=Concurrency(key=lambda piece: piece.sku))
    async def work(job: JobContext[Piece]) -> None:
        seen.append(job.input.depth)
        if job.input.depth < 3:
            await job.spawn(work, Piece(sku="a", depth=job.input.depth + 1), on_parent_close="abandon")

    events = await stage.idle(module)
    await events.jobs.start(work, Piece(sku="a"))
    await within(events.drain_once())
    assert seen == [0, 1, 2, 3]


async def test_while_a_child_waits_for_a_start_of_its_key_its_parent_keeps_its_lease(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_events.store.families.BRIEFLY", "60000")
    begun = asyncio.Event()

    async def parent(job: JobContext[None]) -> Any:
        begun.set()
        await job.spawn(shop.child, Piece(sku="a", depth=5))
        return await job.gather_children()

    shop = Shop(parent, dedupe=Dedupe(key=by_sku))
    events = await stage.running(shop.module, heartbeat=0.05)
    async with held(stage):
        started = await events.jobs.start(shop.parent, None)
        await within(begun.wait())
        await until(lambda: stage.value(WAITS))
        before = await stage.value("SELECT due_at FROM events.run_queue")
        # Its lease is renewed while the child waits, which is given up after fifteen seconds.
        await until(lambda: stage.value("SELECT due_at > $1 FROM events.run_queue", before), seconds=8)
        assert await stage.value(WAITS)
        assert await stage.value("SELECT count(*) FROM events.run") == 1
    assert await within(events.jobs.result(started, timeout=10)) == [5]


async def test_however_many_children_wait_for_a_key_leases_are_renewed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_events.store.families.BRIEFLY", "60000")
    begun = list[int]()

    async def parent(job: JobContext[None]) -> Any:
        begun.append(1)
        await asyncio.gather(*(job.spawn(shop.child, Piece(sku="a", depth=5)) for _ in range(2)))

    shop = Shop(parent, dedupe=Dedupe(key=by_sku))
    events = await stage.running(shop.module, heartbeat=0.05)
    async with held(stage):
        runs = await events.jobs.start_many(shop.parent, [None] * 4)
        await until(lambda: len(begun) == 4)
        await until(lambda: stage.value(WAITS))
        leases = "SELECT least(min(q.due_at), min(w.lease_until)) FROM events.run_queue q, events.worker w"
        for _ in range(2):  # what all of them had, and what the worker had, was too little, and was made more
            before = await stage.value(
                "SELECT greatest(max(q.due_at), max(w.lease_until)) FROM events.run_queue q, events.worker w"
            )
            await until(lambda before=before: stage.value(f"SELECT ({leases}) > $1", before), seconds=6)
        assert await stage.value(WAITS)
    states = [(await until(lambda run=run: ended(events, run))) for run in runs]
    assert sorted(states) == ["failed"] * 4  # of each two, one stood for the other


async def test_what_holds_a_child_up_for_longer_is_asked_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_events.store.families.BRIEFLY", "20")
    monkeypatch.setattr("fastapi_events.store.families.BETWEEN", 0.01)
    tries: list[float] = []
    rest = asyncio.sleep

    async def counted(seconds: float) -> None:
        tries.append(seconds)
        await rest(seconds)

    monkeypatch.setattr("fastapi_events.store.families.asyncio.sleep", counted)

    async def parent(job: JobContext[None]) -> Any:
        await job.spawn(shop.child, Piece(sku="a", depth=5))
        return await job.gather_children()

    shop = Shop(parent, dedupe=Dedupe(key=by_sku))
    events = await stage.running(shop.module)
    async with held(stage):
        started = await events.jobs.start(shop.parent, None)
        await until(lambda: tries.count(0.01) > 2)
    assert await within(events.jobs.result(started, timeout=10)) == [5]
    assert await stage.value("SELECT attempts FROM events.run_end ORDER BY finished_at DESC LIMIT 1") == 1
