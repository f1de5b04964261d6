"""Steps, pauses and runs below runs: what is done stays done, and waiting holds nothing, on both back ends."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import EventPublisher, HandlerSession, JobContext, JobFailed, Module, Retry, fixed
from fastapi_events.errors import RunNotFound
from fastapi_events.store.runs import RunQueue
from fastapi_events.testing import PublishedEvents
from fastapi_events.testing.memory.jobs.queue import MemoryRunQueue
from tests.conformance.backends import Backend, effect
from tests.delivery.stage import Pinged, Placed, until, within


class Quote(BaseModel):
    """A price."""

    sku: str
    cents: int


class Approval(BaseModel):
    """What somebody says."""

    by: str


class Calls:
    """Functions that note what they were called with."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    async def quote(self, sku: str) -> Quote:
        self.made.append(("quote", sku))
        return Quote(sku=sku, cents=100)

    def order(self, given: Quote, quantity: int = 1) -> int:
        self.made.append(("order", given.cents, quantity))
        return given.cents * quantity

    async def fail_once(self, name: str) -> str:
        self.made.append(name)
        if self.made.count(name) == 1:
            raise ValueError("the first time")
        return name


async def test_what_is_done_is_not_done_again(backend: Backend) -> None:
    shop, calls = Module("shop"), Calls()

    @shop.job(retry=Retry(3, fixed(0)))
    async def restock(job: JobContext[None]) -> int:
        given = await job.step("quote", calls.quote, "a")
        assert given == Quote(sku="a", cents=100)
        total = await job.step("order", calls.order, given, 3)
        await job.checkpoint()
        await job.progress(1, 2)
        await job.step("tell", calls.fail_once, "tell")
        return total

    events = await backend.idle(shop)
    started = await events.jobs.start(restock, None)
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 300
    assert calls.made == [("quote", "a"), ("order", 100, 3), "tell", "tell"]
    assert (await events.jobs.get(started)).attempts == 2


async def test_effects_events_and_result_of_a_step_with_a_session_commit_together(backend: Backend) -> None:
    shop, fails = Module("shop"), [True]

    async def charge(number: int, session: HandlerSession, publish: EventPublisher) -> int:
        await effect(session, "charge", number)
        await publish(Placed(order="a", number=number))
        if fails and fails.pop():
            raise ValueError("half done")
        return number

    @shop.job(retry=Retry(3, fixed(0)))
    async def pay(job: JobContext[None]) -> int:
        charged = await job.step("charge", charge, job.attempt)
        if job.attempt == 2:
            raise ValueError("after the step")
        return charged

    events = await backend.idle(shop)
    started = await events.jobs.start(pay, None)
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 2
    assert await backend.effects(events) == [("charge", 2)]
    assert [one.event for one in await PublishedEvents(events).all(Placed)] == [Placed(order="a", number=2)]


async def test_what_a_step_without_a_session_publishes_is_there_with_its_result(backend: Backend) -> None:
    shop, fails = Module("shop"), [True]

    async def tell(number: int, publish: EventPublisher) -> None:
        await publish(Placed(order="a", number=number))
        if fails and fails.pop():
            raise ValueError("half done")

    @shop.job(retry=Retry(2, fixed(0)))
    async def work(job: JobContext[None]) -> None:
        await job.step("one", tell, 1)
        await job.step("two", tell, 2)
        await job.sleep(3600)

    events = await backend.idle(shop)
    await events.jobs.start(work, None)
    await events.drain_once()
    published = await PublishedEvents(events).all(Placed)
    assert [one.event.number for one in published] == [1, 2]
    assert len({one.id for one in published}) == 2


async def test_a_step_is_tried_again_by_itself(backend: Backend) -> None:
    shop, calls = Module("shop"), Calls()

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> list[str]:
        first = await job.step("soon", calls.fail_once, "soon", retry=Retry(2, fixed(0)))
        second = await job.step("later", calls.fail_once, "later", retry=Retry(2, fixed(60, jitter=False)))
        return [first, second]

    events = await backend.idle(shop)
    started = await events.jobs.start(restock, None)
    await events.drain_once()
    view = await events.jobs.get(started)
    assert (view.state, view.attempts, calls.made) == ("pending", 0, ["soon", "soon", "later"])
    await backend.later(61)
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == ["soon", "later"]
    assert calls.made == ["soon", "soon", "later", "later"]


async def test_a_step_that_outlives_its_time_fails(backend: Backend) -> None:
    shop = Module("shop")

    async def hang() -> None:
        await asyncio.Event().wait()

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> None:
        await job.step("hang", hang, timeout=0.02)

    events = await backend.idle(shop)
    started = await events.jobs.start(restock, None)
    await within(events.drain_once())
    assert "step 'hang' ran longer than" in ((await events.jobs.get(started)).error_message or "")


async def test_misuse_of_steps_is_found_out(backend: Backend) -> None:
    shop, calls = Module("shop"), Calls()

    @shop.job(retry=Retry(2, fixed(0)))
    async def twice(job: JobContext[None]) -> None:
        await job.step("quote", calls.quote, "a")
        await job.step("quote", calls.quote, "b")

    @shop.job(retry=Retry(2, fixed(0)))
    async def unstable(job: JobContext[None]) -> None:
        await job.step(f"quote-{job.attempt}", calls.quote, "a")
        raise ValueError("again")

    events = await backend.idle(shop)
    runs = [await events.jobs.start(job, None) for job in (twice, unstable)]
    await events.drain_once()
    messages = [(await events.jobs.get(run)).error_message or "" for run in runs]
    assert "step 'quote' was asked for twice" in messages[0]
    assert "was 'quote-1'" in messages[1]


async def test_sleeping_holds_nothing_and_goes_on_after_it(backend: Backend) -> None:
    shop, seen = Module("shop"), list[str]()

    @shop.job()
    async def remind(job: JobContext[str]) -> str:
        seen.append(job.input)
        await job.sleep(60)
        return job.input

    events = await backend.idle(shop, concurrency={"batch": 1})
    runs = [await events.jobs.start(remind, name) for name in ("a", "b")]
    await events.drain_once()
    await events.drain_once()
    assert seen == ["a", "b"]
    await backend.later(61)
    await events.drain_once()
    assert [await events.jobs.result(run, timeout=1) for run in runs] == ["a", "b"]
    assert seen == ["a", "b"] * 2
    assert [(await events.jobs.get(run)).attempts for run in runs] == [1, 1]


def approving(timeout: float | None = None) -> tuple[Module, Any]:
    """A module with a job that waits for two approvals."""
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def approve(job: JobContext[None]) -> list[str]:
        first = await job.signal("approved", Approval, timeout=timeout)
        second = await job.signal("approved", Approval, timeout=timeout)
        return [first.by, second.by]

    return module, approve


async def test_signals_are_taken_in_their_order_whenever_they_come(backend: Backend) -> None:
    module, approve = approving()
    events = await backend.idle(module)
    started = await events.jobs.start(approve, None)
    await events.jobs.signal(started, "approved", {"by": "a"})
    await events.drain_once()
    assert (await events.jobs.get(started)).state == "pending"
    assert await events.jobs.signal(started, "other", 1)
    assert await events.jobs.signal(started, "approved", Approval(by="b"))
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == ["a", "b"]
    assert not await events.jobs.signal(started, "approved", {"by": "c"})
    with pytest.raises(RunNotFound):
        await events.jobs.signal(uuid4(), "approved")


async def test_a_signal_that_does_not_come_in_time_is_missed(backend: Backend) -> None:
    module, approve = approving(timeout=60)
    events = await backend.idle(module)
    started = await events.jobs.start(approve, None)
    await events.drain_once()
    await backend.later(61)
    await events.drain_once()
    with pytest.raises(JobFailed, match="signal 'approved': it did not come in time"):
        await events.jobs.result(started, timeout=1)


@pytest.mark.parametrize("key", ["a", None])
async def test_an_event_that_is_published_after_the_wait_began_ends_it(backend: Backend, key: str | None) -> None:
    module, fails = Module("shop"), [True]

    @module.job(retry=Retry(2, fixed(0)))
    async def pay(job: JobContext[None]) -> int:
        placed = await job.wait_for(Placed, key=key)
        if fails:
            fails.clear()
            raise ValueError("the event stays the same in the next attempt")
        return placed.number

    events = await backend.idle(module)
    await events.publish(Placed(order="a", number=1))
    started = await events.jobs.start(pay, None)
    await events.drain_once()
    assert (await events.jobs.get(started)).state == "pending"
    await events.publish(Pinged(number=3))
    await events.publish(Placed(order="b", number=2))
    await events.publish(Placed(order="a", number=4))
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == (2 if key is None else 4)


async def test_a_transaction_that_was_open_when_the_wait_began_counts(backend: Backend) -> None:
    module = Module("shop")

    @module.job()
    async def pay(job: JobContext[None]) -> int:
        return (await job.wait_for(Placed)).number

    events = await backend.idle(module)
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=7))
        started = await events.jobs.start(pay, None)
        await events.drain_once()
        await session.commit()
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 7


@pytest.mark.parametrize("looked", [True, False])
async def test_a_run_that_was_ended_while_it_waited_hears_of_events_again(backend: Backend, looked: bool) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def pay(job: JobContext[None]) -> list[int]:
        first = await job.wait_for(Placed, key="a")
        return [first.number, (await job.wait_for(Placed, key="a", timeout=600)).number]

    events = await backend.idle(module)
    started = await events.jobs.start(pay, None)
    for numbers in ((1, 2), (3, 4)):
        await events.drain_once()
        assert await events.jobs.cancel(started)
        if looked:  # what is left of the wait is cleared away, or is still there
            await events.drain_once()
        await events.publish(Placed(order="a", number=numbers[0]))  # nobody hears it
        assert await events.jobs.retry(started)
        await events.publish(Placed(order="a", number=numbers[1]))  # it has not begun yet, and waits all the same
        await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == [2, 4]


async def test_an_instance_that_runs_hears_of_signals_and_events(backend: Backend) -> None:
    module, begun = Module("shop"), list[int]()

    @module.job()
    async def pay(job: JobContext[None]) -> list[Any]:
        begun.append(1)
        placed = await job.wait_for(Placed, timeout=600)
        return [placed.number, await job.signal("go", int)]

    events = await backend.running(module)
    started = await events.jobs.start(pay, None)

    async def waits() -> bool:
        return bool(begun) and (await events.jobs.get(started)).state == "pending"

    await until(waits)
    await events.publish(Placed(order="a", number=1))
    await events.jobs.signal(started, "go", 2)
    assert await within(events.jobs.result(started, timeout=10)) == [1, 2]


class Family:
    """A parent whose children give the double of what they are given."""

    def __init__(self, policy: Any = "cancel") -> None:
        self.module, self.parents = Module("shop"), 0

        @self.module.job(retry=Retry(1))
        async def child(job: JobContext[int]) -> int:
            if job.input == 13:
                raise ValueError("unlucky")
            if job.input >= 100:
                await job.sleep(3600)
            return job.input * 2

        @self.module.job(retry=Retry(2, fixed(0)))
        async def parent(job: JobContext[list[int]]) -> list[int]:
            self.parents += 1
            for number in job.input:
                await job.spawn(child, number, on_parent_close=policy)
            if job.input[:1] == [0]:
                raise ValueError("after spawning")
            results: list[int] = await job.gather_children()
            return results

        self.parent, self.child = parent, child


async def test_results_of_children_are_waited_for_in_their_order(backend: Backend) -> None:
    family = Family()
    events = await backend.idle(family.module, concurrency={"batch": 1})
    started = await events.jobs.start(family.parent, [3, 1, 2])
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == [6, 2, 4]
    assert family.parents == 2  # it went to wait once, and came back once
    children = (await events.jobs.list(family.child)).runs
    assert [(one.parent_id, one.root_id) for one in children] == [(started.run, started.run)] * 3


async def test_each_child_is_spawned_once_whatever_becomes_of_attempts(backend: Backend) -> None:
    family = Family("abandon")
    events = await backend.idle(family.module)
    started = await events.jobs.start(family.parent, [0, 1])
    await events.drain_once()
    assert (await events.jobs.get(started)).state == "failed"
    assert [one.state for one in (await events.jobs.list(family.child)).runs] == ["completed"] * 2


async def test_a_child_that_failed_fails_whoever_waits_for_it(backend: Backend) -> None:
    family = Family()
    events = await backend.idle(family.module)
    started = await events.jobs.start(family.parent, [1, 13])
    await events.drain_once()
    with pytest.raises(JobFailed, match=r"run .* of shop\.child has failed: ValueError: unlucky"):
        await events.jobs.result(started, timeout=1)


@pytest.mark.parametrize("inputs", [["fails", "waits"], ["waits", "fails"]])
@pytest.mark.parametrize("how", ["it fails", "it is cancelled"])
async def test_a_child_that_fails_is_heard_of_while_others_are_at_work(
    backend: Backend, inputs: list[str], how: str
) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def child(job: JobContext[str]) -> None:
        await job.signal("go", int)
        raise ValueError("unlucky")

    @module.job(retry=Retry(1))
    async def parent(job: JobContext[list[str]]) -> None:
        for one in job.input:
            await job.spawn(child, one)
        await job.gather_children()

    events = await backend.idle(module)
    started = await events.jobs.start(parent, inputs)
    await events.drain_once()
    runs = sorted((await events.jobs.list(child)).runs, key=lambda one: one.id)
    failing, other = (runs[inputs.index(one)] for one in ("fails", "waits"))
    assert [one.state for one in runs] == ["pending"] * 2
    if how == "it fails":
        assert await events.jobs.signal(failing.id, "go", 1)
    else:
        assert await events.jobs.cancel(failing.id)
    await events.drain_once()
    with pytest.raises(JobFailed, match=f"run {failing.id} of shop"):
        await events.jobs.result(started, timeout=1)
    assert (await events.jobs.get(other.id)).state == "canceled"


@pytest.mark.parametrize(
    ("policy", "ends"), [("cancel", "canceled"), ("terminate", "canceled"), ("abandon", "completed")]
)
async def test_children_are_closed_with_the_run_that_spawned_them(backend: Backend, policy: str, ends: str) -> None:
    family = Family(policy)
    events = await backend.idle(family.module)
    started = await events.jobs.start(family.parent, [100, 200])
    await events.drain_once()
    assert await events.jobs.cancel(started, "not needed")
    await events.drain_once()
    await backend.later(3601)
    await events.drain_once()
    assert [one.state for one in (await events.jobs.list(family.child)).runs] == [ends] * 2


async def test_a_spawn_that_would_never_end_is_refused(backend: Backend) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def down(job: JobContext[int]) -> None:
        await job.spawn(down, max(job.input - 1, 0))
        await job.gather_children()

    events = await backend.idle(module)
    await events.jobs.start(down, 2)
    await events.drain_once()
    messages = [one.error_message or "" for one in (await events.jobs.list(down, state="failed")).runs]
    assert any("that would never end" in message for message in messages)


async def test_a_replay_begins_from_where_it_is_said(backend: Backend) -> None:
    module, calls = Module("shop"), Calls()

    @module.job()
    async def restock(job: JobContext[None]) -> None:
        await job.step("first", calls.quote, "1")
        await job.checkpoint()
        await job.step("second", calls.quote, "2")
        await job.step("third", calls.quote, "3")

    events = await backend.idle(module)
    started = await events.jobs.start(restock, None)
    assert not await events.jobs.replay(started)
    await events.drain_once()
    expected: dict[Any, list[str]] = {"scratch": ["1", "2", "3"], "last_step": ["3"], "last_checkpoint": ["2", "3"]}
    for start, again in expected.items():
        calls.made.clear()
        assert await events.jobs.replay(started, from_=start)
        await events.drain_once()
        assert calls.made == [("quote", sku) for sku in again]


@pytest.mark.parametrize("timeout", [None, 600])
@pytest.mark.parametrize("what", ["signal", "event"])
async def test_what_comes_while_a_run_is_put_down_is_not_missed(
    backend: Backend, what: str, timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the run has looked, and before it is recorded that it waits."""
    module, come = Module("shop"), list[str]()

    @module.job()
    async def pay(job: JobContext[None]) -> int:
        if what == "signal":
            return await job.signal("go", int, timeout=timeout)
        return (await job.wait_for(Placed, timeout=timeout)).number

    events = await backend.idle(module)

    def late(settle: Any) -> Any:
        async def then_settle(queue: Any, results: Any) -> Any:
            if not come:
                come.append(what)
                if what == "signal":
                    await events.jobs.signal(started, "go", 7)
                else:
                    await events.publish(Placed(order="a", number=7))
                    await (events.on_memory or events.runtime).jobs.work._waits.look()
            return await settle(queue, results)

        return then_settle

    for kind in (RunQueue, MemoryRunQueue):
        monkeypatch.setattr(kind, "settle", late(kind.settle))
    started = await events.jobs.start(pay, None)
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == 7
