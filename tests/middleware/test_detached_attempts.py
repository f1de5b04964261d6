"""An attempt that is detached from its lane keeps its middleware, its time and its outcome."""

import asyncio

import pytest

from fastapi_events import AttemptContext, AttemptNext, AttemptOutcome, HandlerSession, Middleware, Module, Retry, fixed
from tests.delivery.stage import Placed, Stage, effect, publish, until, within
from tests.middleware.notes import Outcomes

BUDGET = 0.05


class Waiting(Middleware):
    """Waits at the order ``slow``, before or after the attempt, until it is let go."""

    def __init__(self, when: str) -> None:
        self.when, self.go, self.reached = when, asyncio.Event(), asyncio.Event()
        self.outcomes: list[AttemptOutcome] = []

    async def wait(self, when: str, context: AttemptContext) -> None:
        if when == self.when and context.headers["order"] == "slow":
            self.reached.set()
            await self.go.wait()

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        await self.wait("before", context)
        self.outcomes.append(await call_next(context))
        await self.wait("after", context)


async def numbers(stage: Stage) -> list[int]:
    return [row["number"] for row in await stage.rows("SELECT number FROM effect ORDER BY number")]


def shop(*middleware: Middleware, timeout: float = 30.0) -> Module:
    module = Module("shop", middleware=middleware)

    @module.on(Placed, timeout=timeout, retry=Retry(1, fixed(0)))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number)
        if event.order == "stuck":
            await asyncio.Event().wait()

    return module


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_slow_middleware_holds_up_its_own_key_and_nothing_else(stage: Stage, when: str) -> None:
    waiting = Waiting(when)
    events = await stage.idle(shop(waiting), inline_budget=BUDGET, batch_size=2)
    for number, order in enumerate(("slow", "a", "slow", "b")):
        await events.publish(Placed(order=order, number=number), headers={"order": order})
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: len(waiting.outcomes) == (2 if when == "before" else 3))
    assert await numbers(stage) == ([1, 3] if when == "before" else [0, 1, 3])
    waiting.go.set()
    await within(draining)
    assert await numbers(stage) == [0, 1, 2, 3]
    assert [outcome.kind for outcome in waiting.outcomes] == ["done"] * 4
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_hanging_one_is_ended_at_the_time_out(stage: Stage, when: str) -> None:
    waiting, outer = Waiting(when), Outcomes()
    events = await stage.idle(shop(outer, waiting, timeout=0.4), inline_budget=BUDGET)
    await events.publish(Placed(order="slow", number=1), headers={"order": "slow"})
    await within(events.drain_once())
    [row] = await stage.deliveries()
    if when == "before":
        assert (row["state"], row["attempts"], row["error_type"]) == ("waiting", 0, "MiddlewareTimeout")
        assert await numbers(stage) == []
        waiting.go.set()
        await stage.make_due()
        await events.drain_once()
    assert [row["state"] for row in await stage.deliveries()] == ["done"]
    assert await numbers(stage) == [1]
    assert [outcome.kind for outcome in waiting.outcomes] == ["done"]


async def test_the_time_out_of_a_detached_attempt_is_seen(stage: Stage) -> None:
    outcomes = Outcomes()
    events = await stage.idle(shop(outcomes, timeout=0.4), inline_budget=BUDGET)
    await publish(events, [Placed(order="stuck", number=1)])
    await within(events.drain_once())
    await until(lambda: outcomes.seen)
    assert [(outcome.kind, outcome.reason) for _, outcome in outcomes.seen] == [("dead", "timed_out")]
    assert [(row["state"], row["reason"]) for row in await stage.deliveries()] == [("dead", "timed_out")]
    assert await numbers(stage) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_stop_waits_for_none(stage: Stage, when: str) -> None:
    waiting = Waiting(when)
    events = await stage.running(shop(waiting, timeout=600), inline_budget=BUDGET, shutdown_grace=0.1)
    await events.publish(Placed(order="slow", number=1), headers={"order": "slow"})
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.delivery WHERE reason = 'detached'"))
    await within(events.stop())
    assert [(row["state"], row["attempts"]) for row in await stage.deliveries()] == (
        [("waiting", 0)] if when == "before" else [("done", 1)]
    )
    assert await numbers(stage) == ([] if when == "before" else [1])
