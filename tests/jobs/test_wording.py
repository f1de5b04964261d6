"""Each error names the thing, the rule and the mend; in the words of whoever made the mistake."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastapi_events import Concurrency, Dedupe, Event, HandlerSession, JobContext, Module, RateLimit, Retry, Trigger
from fastapi_events.errors import DeclarationError, EventsError, InvalidInput, InvalidJob, OperationRefused
from fastapi_events.model.job_context import Child
from tests.delivery.stage import Pinged, Placed, Stage

shop = Module("shop")
a_trigger: Any = Trigger(Pinged, map=lambda event: event.number)


class Noted(Event, name="shop.word.noted", tier="audit"):
    pass


@shop.job("shop.declared")
async def declared(job: JobContext[None]) -> None: ...


def every_below_job() -> None:
    @shop.job(timeout=5)
    @shop.every(timedelta(minutes=1))
    async def nightly(job: JobContext[None]) -> None: ...


def one_trigger() -> None:
    @shop.job(triggers=a_trigger)
    async def triggered(job: JobContext[int]) -> None: ...


def low_priority() -> None:
    @shop.job(priority=-32_768)
    async def low(job: JobContext[None]) -> None: ...


loose: Any = (Concurrency, RateLimit, Trigger, Dedupe)
WRONG: tuple[tuple[Callable[[], Any], type[Exception], str], ...] = (
    (
        every_below_job,
        InvalidJob,
        r"job 'shop.nightly' .*it is a job already.*write @module.every\(...\) above @module.j",
    ),
    (one_trigger, InvalidJob, r"not one trigger, Trigger\(Pinged, ...\). Put it in brackets. Write triggers=\[Trigger"),
    (low_priority, DeclarationError, r"priority=-32768 is not a whole number from -32,767 to 32,767"),
    (
        lambda: loose[0](2),
        DeclarationError,
        r"Concurrency\(\): too many positional arguments. It is Concurrency\(\*, key=",
    ),
    (
        lambda: loose[1](30),
        TypeError,
        r"RateLimit\(\): missing a required argument: 'per'. It is RateLimit\(limit, per, k",
    ),
    (
        lambda: loose[2](Pinged),
        DeclarationError,
        r"Trigger\(\): missing a required argument: 'map'. It is Trigger\(event, ",
    ),
    (lambda: loose[3]("x"), DeclarationError, r"Dedupe\(\): too many positional arguments"),
    (
        lambda: Trigger(Noted, map=str),
        DeclarationError,
        r"starts no durable work. Declare the class with tier='domain'\.\Z",
    ),
    (lambda: shop.every("@weekly")(declared), DeclarationError, r"nicknames are not known here. Write '0 0 \* \* 0'"),
)


@pytest.mark.parametrize(("act", "kind", "says"), WRONG)
def test_where_it_is_written(act: Callable[[], Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        act()


async def asks_for_an_audit_event(job: Any) -> None:
    await job.wait_for(Noted)


async def sleeps_until(job: Any) -> None:
    await job.sleep(datetime.now(UTC))


async def awaits_a_child(job: Any) -> None:
    await Child(job.run.id, "shop.pick")


async def takes_two(first: int, second: int) -> int:
    return first + second


async def passes_one(job: Any) -> None:
    await job.step("add", takes_two, 1)


async def ends_it(session: HandlerSession) -> None:
    await session.rollback()


IN_A_JOB: dict[str, tuple[Callable[[Any], Any], str]] = {
    "audit": (asks_for_an_audit_event, "starts no durable work. Declare the class with tier='domain'."),
    "until": (
        sleeps_until,
        "Write job.sleep(5), or a timedelta. For a moment, the time until then: moment - datetime.now(",
    ),
    "child": (
        awaits_a_child,
        "A child (shop.pick) is not awaited by itself: [result] = await job.gather_children(child).",
    ),
    "few": (passes_one, "step 'add': its function takes 'second' (int) too, which was not passed. Write job.step(id, "),
    "session": (
        lambda job: job.step("s", ends_it),
        "rollback() was called on a HandlerSession. The library commits it to",
    ),
}


async def test_in_a_job(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def work(job: JobContext[str]) -> None:
        await IN_A_JOB[job.input][0](job)

    events = await stage.idle(module)
    runs = {name: await events.jobs.start(work, name) for name in IN_A_JOB}
    await events.drain_once()
    for name, run in runs.items():
        message = (await events.jobs.get(run)).error_message or ""
        assert IN_A_JOB[name][1] in message, message
        assert "broadcast" not in message


async def test_what_is_asked_of_runs_and_jobs(stage: Stage) -> None:
    module = Module("shop")

    @module.job("shop.ship", retry=Retry(1))
    async def ship(job: JobContext[int]) -> None:
        raise ValueError("no")

    events = await stage.idle(module)
    run = await events.jobs.start(ship, 1)
    unsaid: Any = events.jobs
    acts: tuple[tuple[Callable[[], Any], type[EventsError], str], ...] = (
        (
            lambda: events.jobs.reschedule(run, delay=-1),
            InvalidInput,
            r"from 0 to ten years, or a timedelta; delay=0 is now",
        ),
        (lambda: unsaid.result(run), DeclarationError, r"result\(\): missing a required argument: 'timeout'"),
        (
            lambda: events.operations.pause_job("shop.nosuch", actor="me"),
            OperationRefused,
            "Look for its name in 'fastapi-",
        ),
        (lambda: events.operations.pause_job("shop.shp", actor="me"), OperationRefused, "Did you mean 'shop.ship'?"),
    )
    for act, kind, says in acts:
        with pytest.raises(kind, match=says):
            await act()
    await events.drain_once()
    with pytest.raises(InvalidInput, match=r"the input is not what the job takes: \$: .*Correct what is given\.\Z"):
        await events.operations.runs.edit_and_retry(run.run, "text", actor="me")


async def test_why_a_run_waits_says_each_thing_once(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def waits(job: JobContext[str]) -> None:
        await job.wait_for(Placed, key=job.input)

    events = await stage.idle(module)
    run = await events.jobs.start(waits, "77")
    await events.drain_once()
    assert (await events.observe.run(run.run)).why.startswith("it waits for the event shop.order.placed of 77; no live")


async def test_runs_of_schedules_may_be_left_out(stage: Stage) -> None:
    module = Module("shop")

    @module.every(timedelta(hours=1))
    async def ticks(job: JobContext[None]) -> None: ...

    events = await stage.idle(module)
    by_hand = await events.jobs.start(ticks, None)
    ticked = await events.jobs.start(ticks, None)
    await stage.rows("UPDATE events.run SET source = 'schedule' WHERE id = $1", ticked.run)
    both, left = [await events.observe.runs(where) for where in ("", "source:-schedule")]
    assert (len(both.runs), [run.id for run in left.runs]) == (2, [by_hand.run])
