"""The time machine moves what jobs wait for."""

from datetime import timedelta

from fastapi_events import JobContext, Module, Retry, fixed
from fastapi_events.testing.time_machine import TimeMachine
from tests.delivery.stage import Stage


async def test_starts_sleeps_and_back_offs_come_sooner(stage: Stage) -> None:
    shop, fails = Module("shop"), [True]

    @shop.job(retry=Retry(2, fixed(600)))
    async def work(job: JobContext[None]) -> int:
        await job.sleep(600)
        if fails and fails.pop():
            raise ValueError("once")
        return job.attempt

    events = await stage.idle(shop, development=True)
    started = await events.jobs.start(work, None, delay=600)
    states = []
    for _ in range(3):
        await TimeMachine(events).advance(timedelta(minutes=11))
        await events.drain_once()
        states.append((await events.jobs.get(started)).state)
    assert states == ["pending", "pending", "completed"]
    assert await events.jobs.result(started, timeout=1) == 2
