"""What can never work fails the attempt at once, says what to write, and is not tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from fastapi_events import HandlerSession, JobContext, Module, Retry, fixed
from tests.delivery.stage import Pinged, Placed, Stage

Act = Callable[[Any], Any]
charged: list[str] = []


@pytest.fixture(autouse=True)
def nothing_charged() -> None:
    charged.clear()


async def charge(what: str = "charged") -> str:
    charged.append(what)
    return what


async def commits(session: HandlerSession) -> None:
    await session.commit()


IN_A_PLAIN_JOB: dict[str, Act] = {
    "step": lambda job: job.step("s", charge),
    "sleep": lambda job: job.sleep(5),
    "wait_for": lambda job: job.wait_for(Placed),
    "signal": lambda job: job.signal("go", int),
    "spawn": lambda job: job.spawn(None, 1),
    "gather_children": lambda job: job.gather_children(),
    "checkpoint": lambda job: job.checkpoint(),
    "progress": lambda job: job.progress(1),
    "heartbeat": lambda job: job.heartbeat(),
}


async def failed(stage: Stage, module: Module, inputs: list[Any], job: Any) -> dict[Any, Any]:
    """What became of runs with these inputs, each of which has failed at its first attempt."""
    events = await stage.idle(module)
    runs = {given: await events.jobs.start(job, given) for given in inputs}
    await events.drain_once()
    found = {given: await events.observe.run(started.run) for given, started in runs.items()}
    for given, run in found.items():
        assert (run.state, run.attempts, run.reason) == ("failed", 1, "gave_up"), (given, run.why, run.error_message)
    return found


async def test_a_plain_job_has_no_steps(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    def plain(job: JobContext[str]) -> str:
        IN_A_PLAIN_JOB[job.input](job)
        return "done"

    for given, run in (await failed(stage, shop, [*IN_A_PLAIN_JOB], plain)).items():
        assert run.error_type.endswith("InvalidJob")
        assert f"job 'shop.plain' is a plain function (def), which cannot await job.{given}(...)" in run.error_message
        assert "Write async def" in run.error_message
    assert not charged


async def forgets(job: Any) -> str:
    job.step("charge", charge)
    return "done"


async def forgets_before_another(job: Any) -> str:
    job.step("charge", charge)
    return str(await job.step("ship", charge, "shipped"))


async def forgets_before_a_pause(job: Any) -> None:
    job.step("charge", charge)
    await job.sleep(3600)


async def keeps_it(job: Any) -> str:
    asked = job.step("charge", charge)
    await job.progress(1)
    return f"{type(asked).__name__}"


async def returns_it(job: Any) -> Any:
    return job.step("charge", charge)


async def passes_it_on(job: Any) -> Any:
    return await job.step("ship", charge, job.step("charge", charge))


async def makes_a_task_of_it(job: Any) -> None:
    made.append(asyncio.create_task(job.step("charge", charge)))


async def forgets_a_pause(job: Any) -> None:
    job.sleep(3600)


made: list[Any] = []
FORGOTTEN = (
    forgets, forgets_before_another, forgets_before_a_pause, keeps_it, returns_it, passes_it_on, makes_a_task_of_it,
    forgets_a_pause,
)  # fmt: skip


async def test_what_is_not_awaited_fails_the_attempt(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def work(job: JobContext[int]) -> Any:
        return await FORGOTTEN[job.input](job)

    found = await failed(stage, shop, list(range(len(FORGOTTEN))), work)
    for given, run in found.items():
        what = "job.sleep(3600, ...)" if FORGOTTEN[given] is forgets_a_pause else "job.step('charge', ...)"
        says = "is given job.step('charge', ...) itself" if FORGOTTEN[given] is passes_it_on else "was never awaited"
        assert run.error_type.endswith("InvalidJob")
        assert what in run.error_message, run.error_message
        assert says in run.error_message, run.error_message
    assert not charged, "nothing was done after what was forgotten"
    made.clear()


async def test_an_attribute_of_what_is_not_awaited(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def work(job: JobContext[None]) -> int:
        quote: Any = job.step("quote", charge)
        return int(quote.cents)

    events = await stage.idle(shop)
    started = await events.jobs.start(work, None)
    await events.drain_once()
    run = await events.observe.run(started.run)
    assert "job.step('quote', ...) was never awaited, so nothing has come of it. Write await" in run.error_message


async def test_a_plain_function_has_no_session(stage: Stage) -> None:
    shop = Module("shop")

    def charges(session: HandlerSession) -> str:
        return asyncio.run(charge())

    @shop.job()
    async def work(job: JobContext[int]) -> str:
        return await job.step("charge", charges)

    run = (await failed(stage, shop, [1], work))[1]
    assert "charges() is a def function, which runs in a thread, and takes a HandlerSession" in run.error_message
    assert "Make it async def" in run.error_message
    assert not charged


async def test_what_is_awaited_in_other_ways_is_not_forgotten(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def work(job: JobContext[None]) -> list[str]:
        first = job.step("first", charge, "1")
        done = await asyncio.gather(
            job.step("second", charge, "2"), asyncio.create_task(job.step("third", charge, "3"))
        )
        job.step("never", charge, "never").close()
        task = asyncio.create_task(job.step("cancelled", charge, "never"))
        task.cancel()
        await asyncio.wait([task])
        async with anyio.create_task_group() as group:
            group.start_soon(job.step, "fifth", charge, "5")
        many = [job.step(f"one-of-many-{number}", asyncio.sleep, 0) for number in range(100)]
        await asyncio.gather(*many[:50])
        await job.progress(1)
        await asyncio.gather(*many[50:])
        return [await first, *done, await asyncio.wait_for(job.step("fourth", charge, "4"), 5)]

    events = await stage.idle(shop)
    started = await events.jobs.start(work, None)
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == ["1", "2", "3", "4"]
    assert sorted(charged) == ["1", "2", "3", "4", "5"]


async def twice(job: Any) -> None:
    await job.step("charge", charge)
    await job.step("charge", charge)


async def in_a_group(job: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(job.step("", charge))


MISUSES: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "twice": (twice, "step 'charge' was asked for twice"),
    "number": (
        lambda job: job.step("7", charge),
        "an id is a text of 1 to 200 characters, without colons, and not a n",
    ),
    "group": (in_a_group, "unhandled errors in a TaskGroup"),
    "option": (lambda job: job.sleep(-1), "job.sleep(-1) is over before it begins"),
    "commit": (lambda job: job.step("s", commits), "commit() was called on a HandlerSession"),
    "retried": (
        lambda job: job.step("s", commits, retry=Retry(5, fixed(0))),
        "commit() was called on a HandlerSession",
    ),
    "event": (lambda job: job.wait_for("shop.paid"), "wait_for() takes an Event class, not 'shop.paid'"),
    "key": (lambda job: job.wait_for(Pinged, key="1"), "key='1', but Pinged has neither key= nor aggregate_id="),
    "no job": (lambda job: job.spawn(charge, 1), "job.spawn() takes a job, not <function charge"),
    "few": (
        lambda job: job.step(charge),
        "job.step(): missing a required argument: 'fn'. Write e.g. await job.step('ch",
    ),
    "keyword": (lambda job: job.step("s", charge, what="x"), "got an unexpected keyword argument 'what'"),
    "bound": (lambda job: job.step("s", charge, what="x"), "bind to it: functools.partial(fn, note=...)"),
    "checkpoint": (
        lambda job: job.checkpoint("x"),
        "job.checkpoint(): too many positional arguments. Write e.g. await",
    ),
    "signal": (lambda job: job.signal("go"), "job.signal(): missing a required argument: 'type'"),
}


async def test_misuse_is_not_tried_again(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(5, fixed(0)))
    async def work(job: JobContext[str]) -> None:
        await MISUSES[job.input][0](job)

    for given, run in (await failed(stage, shop, [*MISUSES], work)).items():
        assert MISUSES[given][1] in run.error_message, run.error_message
        assert "RunningJob" not in run.error_message


async def test_an_id_that_changes_is_not_tried_again(stage: Stage) -> None:
    shop, attempts = Module("shop"), list[int]()

    async def fail_first() -> None:
        if len(attempts) == 1:
            raise ConnectionError

    @shop.job(retry=Retry(5, fixed(0)))
    async def work(job: JobContext[None]) -> None:
        attempts.append(1)
        await job.step(f"charge-{len(attempts)}", charge)
        await job.step("fail", fail_first)

    events = await stage.idle(shop)
    started = await events.jobs.start(work, None)
    await events.drain_once()
    run = await events.observe.run(started.run)
    assert (run.state, run.reason, run.attempts) == ("failed", "gave_up", 2)
    assert run.error_type.endswith("UnstableSteps")


async def test_an_error_between_asking_and_awaiting_can_be_handled(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def pay(job: JobContext[dict[str, str]]) -> str:
        try:
            await asyncio.gather(job.step("a", charge, "a"), job.step("b", charge, job.input["price"]))
        except KeyError:
            return str(await job.step("fallback", charge, "fallback"))
        return "both"

    @shop.job(retry=Retry(1))
    async def forgets(job: JobContext[None]) -> None:
        try:
            raise KeyError
        except KeyError:
            IN_A_PLAIN_JOB["step"](job)
            await job.step("tell", charge)

    events = await stage.idle(shop)
    handled, forgotten = await events.jobs.start(pay, {}), await events.jobs.start(forgets, None)
    await events.drain_once()
    assert await events.jobs.result(handled, timeout=5) == "fallback"
    assert charged == ["fallback"]
    assert "job.step('s', ...) was never awaited" in str((await events.observe.run(forgotten.run)).error_message)
