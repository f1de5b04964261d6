"""A place that is free is given to who waits, whatever has become of its turn; nothing grows while there is no room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from fastapi_events import Concurrency, JobContext, Module, RateLimit, Retry
from fastapi_events.store.run_gates import GateRule, RunGates
from tests.delivery.stage import SLOW, Stage, until, within

TURNS = "SELECT count(*) FROM events.run_turn"
AT_GATES = "SELECT count(*) FROM events.run_queue WHERE state = 'g'"


class Shop:
    """A job whose runs are at work until they are let go, each by its own input."""

    def __init__(self, **options: Any) -> None:
        self.module, self.seen, self.fails = Module("shop"), list[str](), False
        self.let_go: dict[str, asyncio.Event] = {}

        @self.module.job("shop.work", retry=Retry(1), **options)
        async def work(job: JobContext[str]) -> None:
            self.seen.append(job.input)
            if self.fails:
                raise ValueError("as told")
            await self.let_go.setdefault(job.input, asyncio.Event()).wait()

        self.work: Any = work

    def end(self, *names: str) -> None:
        for name in names:
            self.let_go.setdefault(name, asyncio.Event()).set()


@asynccontextmanager
async def held(stage: Stage, run: Any) -> AsyncIterator[None]:
    """A transaction that has the row of a run, as a signal has it, or a cancel of many."""
    connection = await asyncpg.connect(stage.url)
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT FROM events.run_queue WHERE run_id = $1 FOR NO KEY UPDATE", run.run)
        yield
    finally:
        await connection.close()


async def three(stage: Stage, shop: Shop, **settings: Any) -> tuple[Any, list[Any]]:
    """Two runs at work, as many as may be, and one that waits."""
    events = await stage.running(shop.module, **settings)
    runs = [await events.jobs.start(shop.work, name) for name in "abc"]
    await until(lambda: sorted(shop.seen) == ["a", "b"])
    await until(lambda: stage.value(f"SELECT ({AT_GATES}) = 1 AND ({TURNS}) = 0"))
    return events, runs


async def test_a_place_is_given_to_one_whose_row_was_locked_when_it_got_free(stage: Stage) -> None:
    shop = Shop(concurrency=Concurrency(limit=2))
    events, runs = await three(stage, shop, **SLOW)
    async with held(stage, runs[2]):
        shop.end("b")
        await until(lambda: stage.value("SELECT count(*) FROM events.run_end"))
        # Somebody has looked since, and is to look again.
        await until(lambda: stage.value("SELECT count(*) FROM events.run_limit WHERE turn_at > '-infinity'"))
        assert shop.seen == ["a", "b"]
    await until(lambda: shop.seen == ["a", "b", "c"])
    shop.end("a", "c")
    await within(events.jobs.result(runs[2], timeout=10))


async def test_who_is_behind_one_whose_row_is_locked_does_not_wait_for_it(stage: Stage) -> None:
    shop = Shop(concurrency=Concurrency(limit=2))
    events, runs = await three(stage, shop, **SLOW)
    async with held(stage, runs[2]):
        await events.jobs.start(shop.work, "d")
        shop.end("b")
        await until(lambda: shop.seen == ["a", "b", "d"])
    shop.end("a", "c", "d")
    await until(lambda: "c" in shop.seen)


@pytest.mark.parametrize("what", ["turn", "run"])
async def test_what_vanished_while_another_one_is_at_work_is_found_within_a_poll(stage: Stage, what: str) -> None:
    shop = Shop(concurrency=Concurrency(limit=2))
    events, runs = await three(stage, shop)
    if what == "run":
        await stage.rows("DELETE FROM events.run_queue WHERE run_id = $1", runs[1].run)
    else:
        await stage.rows("CREATE FUNCTION events.lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        await stage.rows(
            "CREATE TRIGGER lost BEFORE INSERT ON events.run_turn FOR EACH ROW EXECUTE FUNCTION events.lose()"
        )
        shop.end("b")
        await within(events.jobs.result(runs[1], timeout=10))
        await stage.rows("DROP FUNCTION events.lose() CASCADE")
    await until(lambda: shop.seen == ["a", "b", "c"])
    shop.end("a", "b", "c")
    await within(events.jobs.result(runs[2], timeout=10))


async def tend(events: Any) -> frozenset[int]:
    """What a poll does, as often as many processes do in a while; returns the jobs of which runs are seen at gates."""
    jobs: Any = events.runtime.jobs
    work, gated = jobs.work, frozenset[int]()
    for _ in range(5):
        gated = (await work._lookout.look()).gated
        work._tending.call(gated)
        await work._tending.tend()
    return gated


@pytest.mark.parametrize("why", ["the pool is full", "the job is paused"])
async def test_turns_do_not_become_more_while_nobody_takes_them(stage: Stage, why: str) -> None:
    shop = Shop(concurrency=Concurrency(key=str))
    events = await stage.running(shop.module, concurrency={"batch": 1}, **SLOW)
    first = await events.jobs.start(shop.work, "first")
    await until(lambda: shop.seen == ["first"])
    if "paused" in why:
        await events.operations.pause_job("shop.work", actor="x")
        await until(lambda: events.runtime.jobs.plan.jobs["shop.work"].paused)
    await events.jobs.start_many(shop.work, [str(number) for number in range(50)])
    await stage.rows("UPDATE events.run_turn SET due_at = due_at - interval '1 minute'")
    assert bool(await tend(events)) == ("full" in why)
    before = await stage.value(TURNS)
    assert before in (50, 100)  # the look with which the process began may have come between
    await tend(events)
    assert await stage.value(TURNS) == before
    shop.end("first")
    await within(events.jobs.result(first, timeout=10))


async def test_a_gate_that_is_closed_is_given_no_turn(stage: Stage) -> None:
    shop = Shop(concurrency=Concurrency(limit=2))
    events, _ = await three(stage, shop, **SLOW)
    job = await stage.value("SELECT id FROM events.job")
    gates = RunGates(events.runtime.database, events.runtime.statements)
    assert [await gates.call(GateRule(job, slots)) for slots in (1, 2, 3, None)] == [0, 0, 1, 1]
    shop.end("a", "b", "c")


async def test_a_rate_whose_moment_is_to_come_is_given_no_turn(stage: Stage) -> None:
    shop = Shop(rate_limit=RateLimit(1, per=3600))
    events = await stage.running(shop.module, **SLOW)
    await events.jobs.start_many(shop.work, ["a", "b"])
    shop.end("a", "b")
    await until(lambda: stage.value(f"SELECT ({TURNS}) = 1 AND count(*) = 1 FROM events.run_end"))
    await tend(events)
    assert await stage.value(TURNS) == 1


async def test_others_jobs_are_others_business(stage: Stage) -> None:
    """A process gives no turn to gates of jobs that it does not run."""
    shop, other = Shop(concurrency=Concurrency()), Shop(concurrency=Concurrency())
    idle = await stage.idle(shop.module, group="one")
    await idle.jobs.start(shop.work, "a")
    await stage.rows("DELETE FROM events.run_turn")
    events = await stage.running(other.module, group="other")
    await events.jobs.start(other.work, "b")
    await until(lambda: other.seen == ["b"])
    assert await tend(events) == frozenset()
    assert await stage.value(TURNS) == 0
    other.end("b")


@pytest.mark.parametrize("how", ["running", "draining"])
@pytest.mark.parametrize("option", [{"concurrency": Concurrency()}, {"rate_limit": RateLimit(1, per=3600)}])
async def test_what_comes_to_a_gate_of_a_job_that_is_limited_no_more_is_let_through(
    stage: Stage, how: str, option: dict[str, Any]
) -> None:
    before, now = Shop(**option), Shop()
    before.fails = True
    limited = await stage.idle(before.module)
    run = await limited.jobs.start(before.work, "a")
    await within(limited.drain_once())
    assert (await limited.jobs.get(run)).state == "failed"
    now.end("a")
    events = await (stage.running(now.module) if how == "running" else stage.idle(now.module))
    if how == "running":
        work: Any = events.runtime.jobs
        await until(lambda: not work.work._lookout._flag.is_set())  # the first look has been
    assert await events.jobs.retry(run)
    assert await stage.value(AT_GATES) <= 1
    if how == "draining":
        await within(events.drain_once())
    await until(lambda: now.seen == ["a"])
