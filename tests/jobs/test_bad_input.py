"""What cannot be is refused where it is written, by an error that names it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from fastapi_events import Child, Event, JobContext, Module, Retry
from fastapi_events.errors import ContradictoryOptions, EventsError, InvalidInput, RunNotFound, UnknownJob
from tests.delivery.stage import Placed, Stage

Act = Callable[[Any], Awaitable[Any]]
stray = Module("other")


async def number(value: int) -> int:
    return value


async def thing() -> Any:
    return object()


@stray.job("other.stray")
async def stray_job(job: JobContext[int]) -> None: ...


IN_A_JOB: dict[str, tuple[Act, str, str]] = {
    "sleep": (
        lambda job: job.sleep(-1),
        "ContradictoryOptions",
        "job.sleep(-1) is over before it begins. Use 0 or more.",
    ),
    "sleep of text": (
        lambda job: job.sleep("5"),
        "ContradictoryOptions",
        "job.sleep('5') is not a number of seconds. Write job.sleep(5), or",
    ),
    "wait": (lambda job: job.wait_for(Placed, timeout=-1), "ContradictoryOptions", "timeout=-1 is no time at all"),
    "abstract": (lambda job: job.wait_for(Event), "InvalidJob", "Event is abstract"),
    "signal": (lambda job: job.signal("x", int, timeout=-1), "ContradictoryOptions", "timeout=-1 is no time at all"),
    "signal of no name": (lambda job: job.signal(" ", int), "InvalidInput", "' ' is no name of a signal"),
    "step": (lambda job: job.step("a", number, 1, timeout=-1), "ContradictoryOptions", "step 'a': timeout=-1"),
    "retry": (
        lambda job: job.step("a", number, 1, retry=3),
        "ContradictoryOptions",
        "Write retry=Retry(max_attempts=3)",
    ),
    "result of a step": (lambda job: job.step("a", thing), "InvalidResult", "step 'a': the result cannot be written"),
    "no function": (lambda job: job.step("a", 5), "InvalidJob", "5 is not a function"),
    "no id": (lambda job: job.step("", number, 1), "InvalidJob", "an id is a text"),
    "unknown": (lambda job: job.spawn(stray_job, 1), "UnknownJob", "'other.stray' belongs to no module"),
    "input": (lambda job: job.spawn(stray_job, object()), "", "other.stray"),
    "policy": (lambda job: job.spawn(stray_job, 1, on_parent_close="x"), "ContradictoryOptions", "on_parent_close='x'"),
    "no child": (lambda job: job.gather_children(5), "InvalidInput", "takes what job.spawn(...) has returned, not 5"),
    "progress": (lambda job: job.progress(-1, 2), "InvalidInput", "progress(-1)"),
    "endless progress": (lambda job: job.progress(1, float("inf")), "InvalidInput", "progress(inf)"),
    "progress of text": (lambda job: job.progress("x"), "InvalidInput", "progress('x')"),
}


async def test_in_a_job(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def work(job: JobContext[str]) -> None:
        if job.input == "cycle":
            await job.spawn(work, job.input)
        else:
            await IN_A_JOB[job.input][0](job)

    @module.job(retry=Retry(1))
    async def returns(job: JobContext[None]) -> int:
        return "text"  # type: ignore[return-value]

    events = await stage.idle(module)
    runs = {name: await events.jobs.start(work, name) for name in [*IN_A_JOB, "cycle"]}
    wrong = await events.jobs.start(returns, None)
    await events.drain_once()
    for name, run in runs.items():
        _, kind, says = IN_A_JOB.get(name, (None, "CyclicSpawn", "that would never end"))
        found = await events.observe.run(run.run)
        assert (found.state, says in found.error_message) == ("failed", True), (name, found.error_message)
        assert kind in found.error_type
        assert found.error_type.startswith("fastapi_events.errors")
    found = await events.observe.run(wrong.run)
    assert (found.state, found.error_type.rpartition(".")[2]) == ("failed", "InvalidResult")


STARTS: tuple[tuple[dict[str, Any], type[EventsError], str], ...] = (
    ({"delay": -1}, InvalidInput, r"jobs\.start\(shop\.work\): delay=-1: a delay is a number of seconds from 0"),
    ({"delay": timedelta(seconds=-1)}, InvalidInput, "a delay is a number of seconds from 0"),
    ({"delay": float("nan")}, InvalidInput, "delay=nan"),
    ({"run_at": datetime(2030, 1, 1)}, InvalidInput, "has no time zone"),  # noqa: DTZ001
    ({"run_at": datetime.now(UTC), "delay": 1}, ContradictoryOptions, "both say when"),
    ({"priority": 99_999}, InvalidInput, "priority=99999: it is a whole number from -32,767 to 32,767"),
    ({"run_id": UUID(int=1)}, EventsError, "has no option 'run_id'"),
    ({"dely": 1}, EventsError, "Did you mean 'delay'"),
)


async def test_of_starts_and_of_runs(stage: Stage) -> None:
    module = Module("shop")

    @module.job("shop.work")
    async def work(job: JobContext[int]) -> None: ...

    events = await stage.idle(module)
    for options, kind, says in STARTS:
        with pytest.raises(kind, match=says):
            await events.jobs.start(work, 1, **options)
    with pytest.raises(UnknownJob, match="belongs to no module"):
        await events.jobs.start(stray_job, 1)
    run = await events.jobs.start(work, 1, delay=60, priority=-32_767)
    for call in (events.jobs.get, events.jobs.cancel, events.jobs.retry, events.jobs.replay):
        for given in ("x", 7, datetime.now(UTC), Child(run.run, "shop.work")):
            with pytest.raises(InvalidInput, match=r"is no run\. Pass what jobs\.start"):
                await call(given)
    assert (await events.jobs.get(str(run.run))).id == run.run
    for timeout in (-1, float("nan"), "5"):
        with pytest.raises(ContradictoryOptions, match=r"jobs\.result\(\): timeout="):
            await events.jobs.result(run, timeout=timeout)
    with pytest.raises(InvalidInput, match="is no name of a signal"):
        await events.jobs.signal(run, "")
    with pytest.raises(RunNotFound):
        await events.jobs.cancel("00000000-0000-7000-8000-000000000000")
    assert [row["state"] for row in await stage.rows("SELECT state FROM events.run_queue")] == [b"t"]
