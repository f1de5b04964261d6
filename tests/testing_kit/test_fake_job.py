"""A job's function is called by itself, with a context that stands for the run."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_events import Event, HandlerSession, JobContext, Module, Retry, fixed
from fastapi_events.errors import DuplicateStep, InvalidInput, InvalidResult, JobFailed, WaitTimeout
from fastapi_events.testing import FakeJobContext

shop = Module("shop")


class Restock(BaseModel):
    sku: str
    quantity: int = 1


class GoodsArrived(Event, name="shop.goods.arrived", aggregate_id="sku"):
    sku: str
    quantity: int


calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


async def quote(sku: str) -> int:
    calls.append(sku)
    return 100


def order(cents: int, quantity: int) -> int:
    calls.append((cents, quantity))
    return cents * quantity


async def note(number: int, session: HandlerSession) -> None:
    calls.append((number, session))


@shop.job()
async def pick(job: JobContext[int]) -> int:
    return job.input


@shop.job(scope=lambda restock: ("sku", restock.sku))
async def restock(job: JobContext[Restock], discount: int = 0) -> int:
    cents = await job.step("quote", quote, job.input.sku)
    total = await job.step("order", order, cents - discount, job.input.quantity)
    await job.checkpoint()
    await job.progress(1, 2)
    await job.sleep(timedelta(days=1))
    arrived = await job.wait_for(GoodsArrived, key=job.input.sku)
    boost = await job.signal("boost", int, timeout=60)
    for number in range(2):
        await job.spawn(pick, number)
    return total + arrived.quantity + boost + sum(await job.gather_children())


async def test_it_is_called_with_what_it_waits_for() -> None:
    job = FakeJobContext(
        restock, Restock(sku="A-1", quantity=3),
        events=[GoodsArrived(sku="B-2", quantity=9), GoodsArrived(sku="A-1", quantity=1)],
        signals={"boost": [7]}, children={pick: lambda number: number * 10}, attempt=2, tags=["spring"],
    )  # fmt: skip
    assert await job.call(discount=50) == 50 * 3 + 1 + 7 + 10
    assert calls == ["A-1", (50, 3)]
    assert job.done == {"quote": 100, "order": 150}
    assert (job.slept, job.told, job.checkpoints) == ([timedelta(days=1)], [(1, 2)], 1)
    assert [(one.job, one.input, one.on_parent_close) for one in job.spawned] == [
        (pick, 0, "cancel"), (pick, 1, "cancel"),
    ]  # fmt: skip
    assert (job.attempt, job.run.tags, job.run.scope, job.run.job) == (2, ("spring",), ("sku", "A-1"), "shop.restock")


async def test_results_stand_for_steps_and_children_and_may_be_failures() -> None:
    given: dict[str, Any] = {"signals": {"boost": [1]}, "events": [GoodsArrived(sku="a", quantity=1)]}
    job = FakeJobContext(restock, Restock(sku="a"), steps={"quote": 5, "order": 6}, children={pick: 1}, **given)
    assert await job.call() == 6 + 1 + 1 + 2
    assert calls == []
    failing = FakeJobContext(restock, Restock(sku="a"), steps={"quote": LookupError("no supplier")})
    with pytest.raises(LookupError, match="no supplier"):
        await failing.call()
    lost = FakeJobContext(restock, Restock(sku="a"), children={pick: JobFailed("lost")}, **given)
    with pytest.raises(JobFailed, match="lost"):
        await lost.call()


async def test_what_is_not_given_is_said() -> None:
    with pytest.raises(AssertionError, match=r"waits for GoodsArrived, and none is left.*events=\[GoodsArrived"):
        await FakeJobContext(restock, Restock(sku="a")).call()
    arrived = [GoodsArrived(sku="a", quantity=1)]
    with pytest.raises(WaitTimeout, match=r"job 'shop\.restock', signal 'boost': it did not come"):
        await FakeJobContext(restock, Restock(sku="a"), events=arrived).call()
    with pytest.raises(AssertionError, match=r"a run of 'shop\.pick', whose result is not given"):
        await FakeJobContext(restock, Restock(sku="a"), events=arrived, signals={"boost": [1]}).call()
    wrong: Any = "a"
    with pytest.raises(InvalidInput):
        FakeJobContext(restock, wrong)


async def test_steps_are_called_as_in_a_run() -> None:
    async def fail_once() -> str:
        calls.append("tried")
        if len(calls) == 1:
            raise ValueError("the first time")
        return "done"

    async def hang() -> None:
        await asyncio.Event().wait()

    async def unstorable() -> object:
        return object()

    @Module("other").job()
    async def steps(job: JobContext[str]) -> str:
        if job.input == "session":
            await job.step("note", note, 1)
        if job.input == "hang":
            await job.step("hang", hang, timeout=0.01)
        if job.input == "unstorable":
            await job.step("unstorable", unstorable)
        if job.input == "twice":
            await job.step("once", fail_once, retry=Retry(2, fixed(3600)))
        return await job.step("once", fail_once, retry=Retry(2, fixed(3600)))

    assert await FakeJobContext(steps, "tried again").call() == "done"
    assert calls == ["tried"] * 2
    session: Any = object()
    await FakeJobContext(steps, "session", given={HandlerSession: session}).call()
    assert calls[2] == (1, session)
    with pytest.raises(TypeError, match=r"step 'note' asks for HandlerSession, which is not given.*steps=\{'note'"):
        await FakeJobContext(steps, "session").call()
    for what, error in (("hang", TimeoutError), ("unstorable", InvalidResult), ("twice", DuplicateStep)):
        with pytest.raises(error):
            await FakeJobContext(steps, what).call()


async def test_plain_functions_and_classes_are_called_too() -> None:
    other = Module("other")

    @other.job()
    def double(job: JobContext[int]) -> int:
        return job.input * 2

    class Report:
        async def run(self, job: JobContext[int]) -> list[int]:
            return [job.input]

    assert await FakeJobContext(double, 4).call() == 8
    assert await FakeJobContext(other.job()(Report), 4).call() == [4]
