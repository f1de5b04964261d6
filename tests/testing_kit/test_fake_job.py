"""A job's function is called by itself, with a context that stands for the run."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_events import Event, HandlerSession, JobContext, Module, Retry, fixed
from fastapi_events.errors import DuplicateStep, InvalidInput, InvalidJob, InvalidResult, JobFailed, WaitTimeout
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


async def test_what_the_context_is_asked_for_is_awaited() -> None:
    module = Module("asking")

    @module.job()
    def plain(job: JobContext[None]) -> None:
        job.sleep(5)  # type: ignore[unused-coroutine]

    @module.job()
    async def forgets(job: JobContext[None]) -> None:
        job.step("quote", quote, "A-1")  # type: ignore[unused-coroutine]

    with pytest.raises(InvalidJob, match=r"job 'asking.plain' is a plain function \(def\).*Write async def"):
        await FakeJobContext(plain, None).call()
    with pytest.raises(InvalidJob, match=r"job.step\('quote', ...\) was never awaited"):
        await FakeJobContext(forgets, None).call()
    assert not calls


async def test_a_stand_in_that_nobody_asks_for_is_told() -> None:
    class Other(Event, name="shop.goods.lost"):
        """What the job does not wait for."""

    @shop.job("shop.other")
    async def other(job: JobContext[None]) -> None: ...

    given: dict[str, Any] = {
        "events": [GoodsArrived(sku="A-1", quantity=1)], "signals": {"boost": [7]}, "children": {pick: 1},
    }  # fmt: skip
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        (
            {"steps": {"qoute": 5}},
            r"job 'shop.restock' never asked for steps= 'qoute' \(did you mean 'quote'\?\)\. Take it",
        ),
        ({"events": [*given["events"], Other()]}, r"never asked for events= .*Other \(it asks for GoodsArrived\)"),
        ({"signals": {"boost": [7], "bost": [1]}}, r"never asked for signals= 'bost' \(did you mean 'boost'\?\)"),
        ({"children": {pick: 1, other: 2}}, r"never asked for children= shop.other \(it asks for shop.pick\)"),
    )
    for changes, says in wrong:
        with pytest.raises(AssertionError, match=says):
            await FakeJobContext(restock, Restock(sku="A-1"), **(given | changes)).call()
    stood_for = FakeJobContext(restock, Restock(sku="A-1"), steps={"qoute": 5, "order": ValueError("no")}, **given)
    with pytest.raises(ValueError, match="no") as caught:
        await stood_for.call()
    assert "did you mean 'quote'?" in caught.value.__notes__[0]


async def test_what_cannot_be_is_named() -> None:
    module: Any = Module("naming")
    unkeyed = type("Unkeyed", (Event,), {"__module__": __name__}, name="shop.stock.counted")

    @module.job()
    async def needs(job: JobContext[str], session: HandlerSession) -> Any:
        if job.input == "step":
            return await job.step("order", order, 1)
        if job.input == "spawn":
            return await job.spawn(order, 1)
        return await job.wait_for(unkeyed, key="1")

    anything: Any = order
    with pytest.raises(InvalidInput, match=r"FakeJobContext\(\) takes a job, not <function order"):
        FakeJobContext(anything, 1)
    with pytest.raises(InvalidInput, match=r"children= has results by job, not by 'm.pick'"):
        FakeJobContext(needs, "x", children={anything and "m.pick": 3})
    with pytest.raises(
        TypeError, match=r"job 'naming.needs': call\(\): missing a required argument: 'session'.*by name"
    ):
        await FakeJobContext(needs, "x").call()
    for given, says in (
        (
            "step",
            r"step 'order': its function takes 'quantity' \(int\) too.*Write job.step\(id, function, ..., quantity",
        ),
        ("spawn", r"job.spawn\(\) takes a job, not <function order"),
        ("key", r"key='1', but Unkeyed has neither key= nor aggregate_id=, so that its events have no key. Declare"),
    ):
        with pytest.raises((InvalidJob, InvalidInput), match=says):
            await FakeJobContext(needs, given).call(session=None)
