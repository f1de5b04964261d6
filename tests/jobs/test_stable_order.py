"""What a job spawns and waits for is told apart by its order, or by ids; if the order changes, nothing is mixed up."""

from typing import Any

import pytest

from fastapi_events import JobContext, Module, Retry, fixed
from tests.delivery.stage import Pinged, Placed, Stage, within

ONCE = Retry(2, fixed(0))


async def run_of(stage: Stage, module: Module, job: Any) -> Any:
    """The run of a job, once all that can be done is done."""
    events = await stage.idle(module)
    started = await events.jobs.start(job, None)
    await within(events.drain_once())
    return await events.jobs.get(started)


def spawning(second: Any, *, ids: bool = False) -> tuple[Module, Any]:
    """A module with a job that spawns one child for each number, and in its second attempt in another order."""
    module = Module("shop")

    @module.job()
    async def double(job: JobContext[int]) -> int:
        return job.input * 2

    @module.job()
    async def triple(job: JobContext[int]) -> int:
        return job.input * 3

    @module.job(retry=ONCE)
    async def parent(job: JobContext[None]) -> list[int]:
        for name, number in [("double", 1), ("double", 2)] if job.attempt == 1 else second:
            child = double if name == "double" else triple
            await job.spawn(child, number, id=f"for-{number}" if ids else None)
        if job.attempt == 1:
            raise ValueError("once more")
        return sorted(await job.gather_children())

    return module, parent


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ([("double", 2), ("double", 1)], r"its spawn number 1 started a run of shop\.double, and is one with another"),
        ([("triple", 1)], r"its spawn number 1 started a run of shop\.double, and is one of shop\.triple now"),
    ],
)  # fmt: skip
async def test_children_are_not_taken_for_each_other(stage: Stage, second: Any, what: str) -> None:
    run = await run_of(stage, *spawning(second))
    assert run.state == "failed"
    assert (await stage.rows("SELECT FROM events.run_end WHERE error_message ~ $1", what)) != []


async def test_children_with_ids_may_come_in_any_order(stage: Stage) -> None:
    module, parent = spawning([("double", 2), ("double", 1)], ids=True)
    run = await run_of(stage, module, parent)
    assert run.state == "completed"
    assert await stage.value("SELECT result::text FROM events.run_end WHERE run_id = $1", run.id) == "[2, 4]"
    run = await run_of(stage, *spawning([("triple", 1)], ids=True))
    assert "its spawn 'for-1' started a run of shop.double, and is one of shop.triple now" in run.error_message


async def test_a_run_that_begins_from_scratch_has_children_of_its_own(stage: Stage) -> None:
    module, calls = Module("shop"), []

    @module.job()
    async def child(job: JobContext[int]) -> int:
        calls.append(job.input)
        return len(calls)

    @module.job()
    async def parent(job: JobContext[None]) -> list[int]:
        for number in range(2):
            await job.spawn(child, number)
        return await job.gather_children()

    events = await stage.idle(module)
    started = await events.jobs.start(parent, None)
    await within(events.drain_once())
    assert sorted(await events.jobs.result(started, timeout=1)) == [1, 2]
    assert await events.jobs.replay(started, from_="scratch")
    await within(events.drain_once())
    assert sorted(await events.jobs.result(started, timeout=1)) == [3, 4]


@pytest.mark.parametrize("ids", [False, True])
async def test_waits_are_not_taken_for_each_other(stage: Stage, ids: bool) -> None:
    module = Module("shop")

    turns: list[int] = []

    @module.job(retry=Retry(1))
    async def both(job: JobContext[None]) -> list[int]:
        turns.append(1)
        keys = ["a", "b"] if len(turns) == 1 else ["b", "a"]
        return [(await job.wait_for(Placed, key=key, id=f"placed-{key}" if ids else None)).number for key in keys]

    events = await stage.idle(module)
    started = await events.jobs.start(both, None)
    for number, key in enumerate("ab"):
        await within(events.drain_once())
        await events.publish(Placed(order=key, number=number))
    await within(events.drain_once())
    run = await events.jobs.get(started)
    if ids:
        assert await events.jobs.result(started, timeout=1) == [1, 0]
    else:
        assert f"event number 1 waited for {Placed.__event_options__.name} of a, and is for" in run.error_message


async def test_another_event_in_the_place_of_one_is_found_out(stage: Stage) -> None:
    module, turns = Module("shop"), []

    @module.job(retry=Retry(1))
    async def wait(job: JobContext[None]) -> None:
        turns.append(1)
        await job.wait_for(Placed if len(turns) == 1 else Pinged, timeout=60, id="news")

    events = await stage.idle(module)
    started = await events.jobs.start(wait, None)
    await within(events.drain_once())
    await events.publish(Placed(order="a", number=1))
    for _ in range(2):
        await within(events.drain_once())
    run = await events.jobs.get(started)
    assert "its event 'news' waited for " in run.error_message
    assert "Wait in the same order in each attempt, or give each wait an id of its own" in run.error_message


async def test_sleeps_with_ids_are_each_their_own(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=ONCE)
    async def nap(job: JobContext[None]) -> None:
        for name in ["a", "b"] if job.attempt == 1 else ["b", "a"]:
            await job.sleep(0.001, id=name)
            await job.checkpoint(id=name)
        if job.attempt == 1:
            raise ValueError("once more")

    assert (await run_of(stage, module, nap)).state == "completed"
    rows = await stage.rows("SELECT name FROM events.run_step ORDER BY number")
    assert [row["name"] for row in rows] == ["sleep:a", "checkpoint:a", "sleep:b", "checkpoint:b"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a", "sleep 'a' was asked for twice in one attempt"), ("1", "sleep '1': an id is a text of 1 to 200"),
        ("a:b", "without colons"), ("", "an id is a text"),
    ],
)  # fmt: skip
async def test_ids_that_cannot_be_are_refused(stage: Stage, name: str, what: str) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def nap(job: JobContext[None]) -> None:
        await job.sleep(0.0, id=name)
        await job.sleep(0.0, id=name)

    assert what in (await run_of(stage, module, nap)).error_message
