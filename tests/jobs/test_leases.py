"""A run is one worker's at a time; whoever has lost it changes nothing, and what vanished with it is taken over."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Events, HandlerSession, JobContext, Module, Retry, Started, fixed
from tests.delivery.stage import Stage, effect, until, within

TAKE_AWAY = "UPDATE events.run_queue SET due_at = '-infinity' WHERE state = 'x'"


async def hand_over(stage: Stage, events: Events, started: Started[Any], crashes: int = 0, lease: int = 3600) -> Any:
    """Let the only pool have a run in hand, as if it had claimed it while it had room."""
    work: Any = events.runtime.jobs
    [pool] = work.work.pools
    await stage.rows(
        "UPDATE events.run_queue SET state = 'x', worker_id = $1, token = 7, crashes = $3, "
        "due_at = now() + make_interval(secs => $4) WHERE run_id = $2",
        events.runtime.worker, started.run, crashes, lease,
    )  # fmt: skip
    [row] = await stage.rows(
        "SELECT q.*, r.depth, r.input::text AS input, r.created_at, r.parent_id, r.root_id FROM events.run_queue q "
        "JOIN events.run r ON r.id = q.run_id WHERE q.run_id = $1",
        started.run,
    )
    pool._take(next(iter(work.plan.by_number.values())), row)
    return pool


class Patient:
    """A job in a pool of one: every run waits for its word."""

    def __init__(self) -> None:
        self.module, self.begun, self.go_on = Module("shop"), asyncio.Event(), asyncio.Event()
        self.seen: list[int] = []
        self.work = self.module.job(name="shop.work")(self._work)

    async def _work(self, job: JobContext[int]) -> None:
        self.seen.append(job.input)
        self.begun.set()
        await self.go_on.wait()


async def state(stage: Stage) -> str | None:
    return await stage.value("SELECT state FROM events.run_end")


@pytest.mark.parametrize("ends", ["returns", "raises"])
async def test_who_has_lost_a_run_changes_nothing(stage: Stage, ends: str) -> None:
    calls: list[asyncio.Event] = []

    def module() -> Module:
        shop = Module("shop")

        @shop.job(id_ := "shop.restock", retry=Retry(2, fixed(0)))
        async def restock(job: JobContext[None]) -> int:
            mine = len(calls)
            calls.append(asyncio.Event())
            await calls[mine].wait()
            if mine == 0 and ends == "raises":
                raise ValueError("late")
            return mine

        assert restock.name == id_
        return shop

    first = await stage.running(module(), heartbeat=2.0)
    started = await first.jobs.start(first.registry.jobs["shop.restock"], None)
    await until(lambda: len(calls) == 1)
    second = await stage.running(module(), heartbeat=2.0)
    await stage.rows(TAKE_AWAY)
    first.runtime.wake.runs.due.set()
    await until(lambda: len(calls) == 2)
    calls[0].set()
    await until(lambda: first.runtime.counters.stale_settles + second.runtime.counters.stale_settles == 1)
    assert await state(stage) is None
    calls[1].set()
    assert await within(second.jobs.result(started, timeout=10)) == 1
    assert await stage.value("SELECT count(*) FROM events.run_attempt") == 0


async def test_effects_of_who_has_lost_a_run_are_rolled_back(stage: Stage) -> None:
    calls: list[asyncio.Event] = []

    def module() -> Module:
        shop = Module("shop")

        @shop.job("shop.restock")
        async def restock(job: JobContext[None], session: HandlerSession) -> int:
            mine = len(calls)
            calls.append(asyncio.Event())
            await effect(session, "restock", mine)
            await calls[mine].wait()
            return mine

        return shop

    first = await stage.running(module(), heartbeat=2.0)
    started = await first.jobs.start(first.registry.jobs["shop.restock"], None)
    await until(lambda: len(calls) == 1)
    await stage.running(module(), heartbeat=2.0)
    await stage.rows(TAKE_AWAY)
    first.runtime.wake.runs.due.set()
    await until(lambda: len(calls) == 2)
    calls[1].set()
    assert await within(first.jobs.result(started, timeout=10)) == 1
    calls[0].set()
    await first.stop()
    assert [row["number"] for row in await stage.rows("SELECT number FROM effect")] == [1]


async def test_a_lease_is_renewed_while_a_run_is_at_work(stage: Stage) -> None:
    shop, go_on = Module("shop"), asyncio.Event()

    @shop.job()
    async def restock(job: JobContext[None]) -> None:
        await go_on.wait()

    events = await stage.running(shop)
    started = await events.jobs.start(restock, None)
    before = await until(lambda: stage.value("SELECT due_at FROM events.run_queue WHERE state = 'x'"))
    await until(lambda: stage.value("SELECT due_at FROM events.run_queue WHERE due_at > $1", before))
    go_on.set()
    await within(events.jobs.result(started, timeout=10))


async def test_who_has_lost_a_run_is_told_by_the_next_renewal(stage: Stage) -> None:
    shop, begun, ended = Module("shop"), asyncio.Event(), asyncio.Event()

    @shop.job()
    async def restock(job: JobContext[None]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    events = await stage.running(shop)
    await events.jobs.start(restock, None)
    await within(begun.wait())
    await stage.rows("UPDATE events.run_queue SET worker_id = gen_random_uuid()")
    await within(ended.wait())


async def test_stopping_gives_back_what_runs_and_what_has_not_begun(stage: Stage) -> None:
    shop, seen, begun = Module("shop"), [], asyncio.Event()

    @shop.job()
    async def restock(job: JobContext[None]) -> None:
        seen.append(job.attempt)
        begun.set()
        if len(seen) == 1:
            await asyncio.Event().wait()

    events = await stage.running(shop, concurrency={"batch": 1}, shutdown_grace=0.05)
    await events.jobs.start_many(restock, [None] * 3)
    await within(begun.wait())
    await within(events.stop())
    rows = await stage.rows("SELECT state, attempts, worker_id FROM events.run_queue")
    assert [tuple(row) for row in rows] == [(b"r", 0, None)] * 3
    other = await stage.idle(shop)
    await within(other.drain_once())
    assert seen == [1, 1, 1, 1]


async def test_a_heartbeat_lets_the_time_of_an_attempt_begin_anew(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(timeout=0.3, retry=Retry(1))
    async def alive(job: JobContext[None]) -> int:
        for _ in range(6):
            await asyncio.sleep(0.1)
            await job.heartbeat()
        return 6

    events = await stage.idle(shop)
    started = await events.jobs.start(alive, None)
    await within(events.drain_once())
    assert await events.jobs.result(started, timeout=1) == 6


async def test_one_that_is_cancelled_before_it_begins_does_not(stage: Stage) -> None:
    patient = Patient()
    events = await stage.running(patient.module, concurrency={"batch": 1})
    first = await events.jobs.start(patient.work, 1)
    await within(patient.begun.wait())
    second = await events.jobs.start(patient.work, 2)
    pool = await hand_over(stage, events, second)
    assert await events.jobs.cancel(second, "not needed")
    await until(lambda: any(run.canceled for run in pool.in_hand.values()))
    patient.go_on.set()
    await within(events.jobs.result(first, timeout=10))
    await until(lambda: not pool.in_hand)
    assert patient.seen == [1]
    assert (await events.jobs.get(second)).state == "canceled"


async def test_one_that_may_have_ended_a_process_runs_though_it_was_given_back_before(stage: Stage) -> None:
    patient = Patient()
    events = await stage.running(patient.module, concurrency={"batch": 1})
    await events.jobs.start(patient.work, 1)
    await within(patient.begun.wait())
    second = await events.jobs.start(patient.work, 2)
    pool = await hand_over(stage, events, second, crashes=2)
    pool.look()
    await until(lambda: stage.value("SELECT 1 FROM events.run_queue WHERE run_id = $1 AND state = 'r'", second.run))
    patient.go_on.set()
    await within(events.jobs.result(second, timeout=10))
    assert patient.seen == [1, 2]


async def test_one_that_may_have_ended_a_process_runs_though_it_was_lost_before_it_began(stage: Stage) -> None:
    patient = Patient()
    events = await stage.running(patient.module, concurrency={"batch": 1})
    await events.jobs.start(patient.work, 1)
    await within(patient.begun.wait())
    second = await events.jobs.start(patient.work, 2)
    pool = await hand_over(stage, events, second, crashes=2)
    [claim] = [claim for claim in pool.in_hand if claim.run_id == second.run]
    pool.lost(claim)
    patient.go_on.set()
    await until(lambda: not pool.in_hand)
    await stage.rows("UPDATE events.run_queue SET state = 'r', worker_id = NULL, due_at = NULL")
    pool.look()
    await within(events.jobs.result(second, timeout=10))
    assert patient.seen == [1, 2]


async def test_one_that_could_not_be_given_back_is_not_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    patient, refused = Patient(), asyncio.Event()

    async def release(*_: object) -> None:
        refused.set()
        raise ConnectionResetError

    events = await stage.running(patient.module, concurrency={"batch": 1})
    await events.jobs.start(patient.work, 1)
    await within(patient.begun.wait())
    second = await events.jobs.start(patient.work, 2)
    pool = await hand_over(stage, events, second, lease=1)
    with monkeypatch.context() as patch:
        patch.setattr(pool._queue, "release", release)
        pool.look()
        await within(refused.wait())
    patient.go_on.set()
    await within(events.jobs.result(second, timeout=10))
    assert patient.seen == [1, 2]
