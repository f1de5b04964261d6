"""What somebody has locked holds nothing else up, and nobody waits for somebody who waits for him."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from fastapi_events import HandlerSession, JobContext, Module, Retry
from tests.delivery.stage import SLOW, Stage, until, within

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
ENDING = (
    f"{WAITING} AND query ~ '^-- (Locks runs that are to end|Records what became of runs|Records that one run has)'"
)


class Gates:
    """Parents and children, each of which ends when it is told to."""

    def __init__(self) -> None:
        self.module, self.calls = Module("shop"), list[str]()
        self.go_on: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("parent", "child", "other")}

        @self.module.job(pool="others")
        async def asleep(job: JobContext[None]) -> None:
            await job.signal("never", str)

        @self.module.job(pool="others")
        async def child(job: JobContext[None]) -> str:
            return await self.wait("child")

        @self.module.job(pool="others")
        async def in_session(job: JobContext[None], session: HandlerSession) -> str:
            return await self.wait("child")

        @self.module.job()
        async def parent(job: JobContext[str]) -> None:
            await job.spawn(asleep, None)
            await job.spawn(in_session if job.input == "session" else child, None)
            await self.wait("parent")

        @self.module.job()
        async def other(job: JobContext[None]) -> str:
            return await self.wait("other")

        self.asleep, self.parent, self.other = asleep, parent, other

    async def wait(self, name: str) -> str:
        self.calls.append(name)
        await self.go_on[name].wait()
        return name


@contextlib.asynccontextmanager
async def locked(stage: Stage, run: UUID) -> Any:
    """Somebody has a run's row locked, for as long as the block lasts."""
    connection: Any = await asyncpg.connect(stage.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM events.run_queue WHERE run_id = $1 FOR UPDATE", run)
            yield
    finally:
        await connection.close()


async def run_of(stage: Stage, name: str) -> UUID:
    found = await stage.value(
        "SELECT r.id FROM events.run r JOIN events.job j ON j.id = r.job_id WHERE j.name = 'shop.' || $1", name
    )
    assert isinstance(found, UUID)
    return found


async def test_a_run_that_is_locked_does_not_cost_the_leases_of_others(stage: Stage) -> None:
    gates = Gates()
    events = await stage.running(gates.module)
    first, second = [await events.jobs.start(gates.other, None) for _ in range(2)]
    await until(lambda: gates.calls == ["other"] * 2)
    due = "SELECT due_at FROM events.run_queue WHERE run_id = $1"
    async with locked(stage, first.run):
        for _ in range(2):
            before = await stage.value(due, second.run)
            await until(lambda before=before: stage.value(f"{due} AND due_at > $2", second.run, before))
    before = await stage.value(due, first.run)
    await until(lambda: stage.value(f"{due} AND due_at > $2", first.run, before))
    gates.go_on["other"].set()
    assert [await within(events.jobs.result(run, timeout=10)) for run in (first, second)] == ["other"] * 2
    assert gates.calls == ["other"] * 2


async def test_a_child_whose_parent_is_locked_does_not_keep_others_from_ending(stage: Stage) -> None:
    gates = Gates()
    events = await stage.running(gates.module)
    started = await events.jobs.start(gates.parent, "")
    await until(lambda: sorted(gates.calls) == ["child", "parent"])
    async with locked(stage, started.run):
        gates.go_on["child"].set()
        gates.go_on["other"].set()
        for _ in range(3):
            other = await events.jobs.start(gates.other, None)
            assert await within(events.jobs.result(other, timeout=10)) == "other"
        assert await stage.value("SELECT count(*) FROM events.run_end WHERE state = 'completed'") == 3
    child = await run_of(stage, "child")
    assert await within(events.jobs.result(child, timeout=10)) == "child"
    assert await stage.value("SELECT children FROM events.run_queue WHERE run_id = $1", started.run) == 1
    gates.go_on["parent"].set()
    await within(events.jobs.result(started, timeout=10))
    assert events.runtime.counters.stale_settles == 0


async def test_a_parent_and_a_child_that_end_together_do_not_wait_for_each_other(stage: Stage) -> None:
    gates = Gates()
    events = await stage.running(gates.module, pools=["batch"])
    other = await stage.running(gates.module, pools=["others"])
    before = await stage.value(DEADLOCKS)
    started = await events.jobs.start(gates.parent, "session")
    await until(lambda: sorted(gates.calls) == ["child", "parent"])
    asleep = await run_of(stage, "asleep")
    await until(lambda: stage.value("SELECT 1 FROM events.run_queue WHERE run_id = $1 AND state = 'w'", asleep))
    async with locked(stage, asleep):
        gates.go_on["parent"].set()
        await until(lambda: stage.value(f"SELECT ({ENDING}) = 1"))
        gates.go_on["child"].set()
        await until(lambda: stage.value(f"SELECT ({ENDING}) = 2 OR EXISTS (SELECT FROM events.run_end)"))
    await within(events.jobs.result(started, timeout=10))
    await until(lambda: stage.value("SELECT count(*) = 3 FROM events.run_end"))
    assert await stage.value(DEADLOCKS) == before
    assert events.runtime.counters.stale_settles == other.runtime.counters.stale_settles == 0


HOLD = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
"""
SPAWNS = """
    CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON events.run_step DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind = 'spawn') EXECUTE FUNCTION hold()
"""
CLAIMS = """
    CREATE TRIGGER hold BEFORE UPDATE ON events.run_queue
    FOR EACH ROW WHEN (NEW.state = 'x') EXECUTE FUNCTION hold()
"""


@pytest_asyncio.fixture
async def hold(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[str], Any]]:
    """Makes the commit of a spawn, or a claim, take as long as the test wants."""
    monkeypatch.setattr("fastapi_events.store.families.BRIEFLY", "60000")  # its commit waits for a lock here
    connection: Any = await asyncpg.connect(stage.url)

    async def begin(trigger: str) -> Callable[[], Any]:
        for statement in (HOLD, trigger, "SELECT pg_advisory_lock(4711)"):
            await connection.execute(statement)
        return lambda: connection.execute("SELECT pg_advisory_unlock(4711)")

    yield begin
    await connection.execute("SELECT pg_advisory_unlock_all()")
    for events in stage.instances:
        await events.stop()
    await connection.execute("DROP FUNCTION IF EXISTS hold() CASCADE")
    await connection.close()


async def test_a_child_is_closed_that_was_being_spawned_while_its_parent_ended(
    stage: Stage, hold: Callable[[str], Any]
) -> None:
    module, spawning, begun, go_on = Module("shop"), list[Any](), asyncio.Event(), asyncio.Event()

    @module.job(pool="elsewhere")
    async def child(job: JobContext[None]) -> None: ...

    @module.job(retry=Retry(1))
    async def parent(job: JobContext[None]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            spawning.append(asyncio.ensure_future(job.spawn(child, None)))
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go_on.wait()

    events = await stage.running(module, pools=["batch"], shutdown_grace=0.5)
    release = await hold(SPAWNS)
    started = await events.jobs.start(parent, None)
    await within(begun.wait())
    assert await events.jobs.cancel(started)
    await until(lambda: stage.value(f"SELECT ({ENDING}) = 1"))
    await release()
    await until(lambda: stage.value("SELECT count(*) = 2 FROM events.run_end WHERE state = 'canceled'"))
    go_on.set()
    await asyncio.wait(spawning)
    assert await stage.value("SELECT note FROM events.run_end WHERE run_id <> $1", started.run) == (
        "the run that spawned it has ended"
    )


async def test_an_attempt_ends_when_its_spawns_have(stage: Stage, hold: Callable[[str], Any]) -> None:
    module, spawning, go_on = Module("shop"), list[Any](), asyncio.Event()

    @module.job(pool="elsewhere")
    async def child(job: JobContext[None]) -> None: ...

    @module.job(retry=Retry(1))
    async def parent(job: JobContext[None]) -> None:
        spawning.append(asyncio.ensure_future(job.spawn(child, None)))
        await go_on.wait()
        raise ValueError("beside it")

    events = await stage.running(module, pools=["batch"])
    release = await hold(SPAWNS)
    started = await events.jobs.start(parent, None)
    await until(lambda: stage.value(f"SELECT ({WAITING}) = 1"))
    go_on.set()
    await until(lambda: stage.value("SELECT 1 FROM events.run_end WHERE run_id = $1", started.run))
    assert spawning[0].done()
    await release()
    assert await stage.value("SELECT count(*) FROM events.run_queue") == 0


async def test_a_run_that_pauses_instead_of_ending_is_cancelled_at_once(stage: Stage) -> None:
    module, begun = Module("shop"), asyncio.Event()

    @module.job(retry=Retry(1))
    async def stubborn(job: JobContext[None]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await job.sleep(3600)

    events = await stage.running(module, **SLOW)
    started = await events.jobs.start(stubborn, None)
    await within(begun.wait())
    assert await events.jobs.cancel(started, "not needed")
    await until(lambda: stage.value("SELECT 1 FROM events.run_end WHERE state = 'canceled'"))


async def test_what_one_claim_kept_from_another_and_has_not_taken_is_told(
    stage: Stage, hold: Callable[[str], Any]
) -> None:
    go_on, seen = asyncio.Event(), list[str]()

    def module(who: str) -> Module:
        shop = Module("shop")

        async def work(job: JobContext[None]) -> None:
            seen.append(who)
            await go_on.wait()

        for name in ("shop.one", "shop.two"):
            shop.job(name)(work)
        return shop

    first = await stage.running(module("first"), concurrency={"batch": 1}, lease=3600.0, heartbeat=600.0, **SLOW)
    release = await hold(CLAIMS)
    async with first.session() as session:
        for job in first.registry.jobs.values():
            await first.job_client(session).start(job, None)
        await session.commit()
    await until(lambda: stage.value(f"SELECT ({WAITING}) = 1"))
    second = await stage.running(module("second"), concurrency={"batch": 1}, lease=3600.0, heartbeat=600.0, **SLOW)
    side: Any = second.runtime.jobs
    pool = side.work.pools[0]
    for _ in range(2):  # one claim may have been under way
        pool.look()
        await until(lambda: not pool._may_have_more)
    await release()
    await until(lambda: sorted(seen) == ["first", "second"])
    go_on.set()
