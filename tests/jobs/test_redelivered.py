"""A job whose step was cut is told so in each attempt that follows."""

import asyncio
from typing import Any

from fastapi_events import JobContext, Module, Retry, RetryLater
from tests.delivery.stage import Stage, until, within


class Cut:
    """A job whose step hangs in its first call."""

    def __init__(self) -> None:
        self.module, self.told, self.calls, self.busy = Module("shop"), list[Any](), list[Any](), [False]

        @self.module.job(retry=Retry(1))
        async def pay(job: JobContext[None]) -> int:
            self.told.append((job.attempt, job.redelivered))
            if self.busy[0]:
                self.busy[0] = False
                raise RetryLater(0)
            return await job.step("charge", self.charge)

        self.pay = pay

    async def charge(self) -> int:
        self.calls.append("charge")
        if len(self.calls) == 1:
            await asyncio.Event().wait()
        return 5


async def test_a_step_that_a_stop_has_cut(stage: Stage) -> None:
    cut = Cut()
    first, other = await stage.running(cut.module, shutdown_grace=0.05), await stage.idle(cut.module)
    started = await first.jobs.start(cut.pay, None)
    await until(lambda: cut.calls)
    await within(first.stop())
    await within(other.drain_once())
    assert await within(other.jobs.result(started, timeout=5)) == 5
    assert (cut.told, cut.calls) == ([(1, False), (1, True)], ["charge"] * 2)


async def test_a_step_that_a_lost_lease_has_cut_behind_an_attempt_that_did_not_come_to_it(stage: Stage) -> None:
    cut = Cut()
    first, other = await stage.running(cut.module), await stage.idle(cut.module)
    started = await first.jobs.start(cut.pay, None)
    await until(lambda: cut.calls)
    cut.busy[0] = True

    async def taken_over() -> bool:  # the first one may renew its lease between the two, or claim it again
        await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp() - interval '1 second'")
        await other.drain_once()
        return len(cut.calls) > 1

    await until(taken_over)
    assert await within(other.jobs.result(started, timeout=5)) == 5
    assert cut.told == [(1, False), (1, True), (1, True)]
