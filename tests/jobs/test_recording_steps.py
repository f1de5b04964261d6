"""What a step's function has returned is recorded, whoever is in the way of it: the function is not called again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from fastapi_events import Event, EventPublisher, Events, JobContext, Module, Retry, fixed
from tests.delivery.stage import Stage, until, within

WAITING = (
    "SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
ONCE = Retry(2, fixed(0, jitter=False))


class Charged(Event, name="shop.charged", aggregate_id="account", serialize=True):
    account: str


class Till:
    """A job of one step, which is done while somebody is in the way of its record."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        self.stage, self.module, self.calls = stage, Module("shop"), list[str]()
        self.go_on, self.caught = asyncio.Event(), list[BaseException]()
        self.timeout: float | None = None

        @self.module.job(**{"retry": ONCE, **options})
        async def pay(job: JobContext[None]) -> int:
            try:
                return await job.step("charge", self.charge, timeout=self.timeout)
            except Exception as error:
                self.caught.append(error)
                raise

        @self.module.job(retry=ONCE)
        async def pay_and_tell(job: JobContext[None]) -> int:
            return await job.step("charge", self.charge_and_tell)

        self.pay, self.pay_and_tell = pay, pay_and_tell

    async def charge(self) -> int:
        self.calls.append("charge")
        await self.go_on.wait()
        return 5

    async def charge_and_tell(self, publish: EventPublisher) -> int:
        await publish(Charged(account="a"))
        return await self.charge()

    async def called(self) -> None:
        await until(lambda: self.calls == ["charge"])

    async def tried(self, times: int) -> None:
        """Return when the record has been tried so often, in vain; or the function is called again."""
        seen = set[Any]()

        async def look() -> bool:
            seen.update((row["pid"], row["query_start"]) for row in await self.stage.rows(WAITING))
            return len(seen) >= times or len(self.calls) > 1

        await until(look, f"{times} tries to record")


@contextlib.asynccontextmanager
async def transaction(stage: Stage, statement: str, *arguments: Any) -> AsyncIterator[None]:
    connection: Any = await asyncpg.connect(stage.url)
    try:
        async with connection.transaction():
            await connection.execute(statement, *arguments)
            yield
    finally:
        await connection.close()


def locked(stage: Stage, run: UUID) -> Any:
    return transaction(stage, "SELECT FROM events.run_queue WHERE run_id = $1 FOR UPDATE", run)


async def paid(till: Till, events: Events, run: UUID) -> None:
    """It was charged once, and the job has heard of nothing."""
    assert await within(events.jobs.result(run, timeout=10)) == 5
    assert (till.calls, till.caught) == (["charge"], [])


@pytest.mark.parametrize("timeout", [None, 0.2])
async def test_a_locked_run_does_not_have_a_step_done_again(stage: Stage, timeout: float | None) -> None:
    till = Till(stage)
    till.timeout = timeout
    events = await stage.running(till.module)
    started = await events.jobs.start(till.pay, None)
    await till.called()
    async with locked(stage, started.run):
        till.go_on.set()
        await till.tried(5)
    await paid(till, events, started.run)
    assert await stage.value("SELECT count(*) FROM events.run_attempt") == 0


async def test_an_application_that_has_a_key_does_not_have_a_step_done_again(stage: Stage) -> None:
    till = Till(stage)
    events = await stage.running(till.module)
    async with events.session() as session:
        await events.publisher(session)(Charged(account="a"))
        await session.flush()
        started = await events.jobs.start(till.pay_and_tell, None)
        await till.called()
        till.go_on.set()
        await till.tried(4)
        await session.commit()
    await paid(till, events, started.run)
    assert await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.charged'") == 2


async def test_connections_that_are_dropped_do_not_have_a_step_done_again(stage: Stage) -> None:
    till = Till(stage)
    events = await stage.running(till.module)
    started = await events.jobs.start(till.pay, None)
    await till.called()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ $1"
    async with locked(stage, started.run):
        till.go_on.set()
        for _ in range(2):
            await until(lambda: stage.value(kill, "^-- Records a step"))
    await paid(till, events, started.run)


async def test_an_attempt_that_is_given_up_is_recorded_after_what_its_step_has_come_to(stage: Stage) -> None:
    till = Till(stage, timeout=0.3)
    events = await stage.running(till.module)
    started = await events.jobs.start(till.pay, None)
    await till.called()
    async with locked(stage, started.run):
        till.go_on.set()
        # The pauses between tries come to be longer than the time-out.
        await until(lambda: not at_work(events))
        await till.tried(2)
    await paid(till, events, started.run)
    assert await stage.value("SELECT array_agg(outcome) FROM events.run_attempt") == ["retry"]


async def test_a_process_that_stops_records_what_its_steps_have_come_to(stage: Stage) -> None:
    till = Till(stage)
    first, other = await stage.running(till.module, shutdown_grace=0.05), await stage.idle(till.module)
    started = await first.jobs.start(till.pay, None)
    await till.called()
    async with locked(stage, started.run):
        till.go_on.set()
        await till.tried(1)
        stopping = asyncio.ensure_future(first.stop())
        await until(lambda: not at_work(first))
    await within(stopping)
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
    await within(other.drain_once())
    await paid(till, other, started.run)


def at_work(events: Events) -> list[Any]:
    side: Any = events.runtime.jobs
    return [hand for pool in side.work.pools for hand in pool._crew.hands]
