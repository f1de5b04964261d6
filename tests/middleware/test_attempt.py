"""Around an attempt: it sees what became of it, and changes nothing, whatever it does."""

import asyncio
import logging
from typing import Any

import pytest

from fastapi_events import (
    AttemptContext,
    AttemptNext,
    DeadLetter,
    Discard,
    Event,
    Events,
    HandleContext,
    HandleNext,
    HandlerSession,
    Middleware,
    Module,
    Retry,
    RetryLater,
    fixed,
)
from fastapi_events.errors import DetachedPublish
from tests.delivery.stage import Pinged, Placed, Stage, effect, publish, until, within
from tests.middleware.notes import Outcomes


class Hook(Middleware):
    """Does what it is given."""

    def __init__(self, does: Any) -> None:
        self.does = does

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        await self.does(context, call_next)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_it_sees_every_outcome(stage: Stage) -> None:
    outcomes = Outcomes()
    module = Module("shop", middleware=[outcomes])
    raised = {
        "fail": ValueError("broken"), "discard": Discard("a test"), "bury": DeadLetter("hopeless"),
        "later": RetryLater(3600),
    }  # fmt: skip

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed) -> None:
        if event.order in raised:
            raise raised[event.order]

    events = await stage.idle(module)
    for order in ("fine", *raised):
        await events.publish(Placed(order=order), headers={"order": order}, tenant_id="acme")
        await events.drain_once()
    seen = [
        (context.headers["order"], context.attempt, context.redelivered, outcome.kind, outcome.reason)
        for context, outcome in outcomes.seen
    ]
    assert seen == [
        ("fine", 1, False, "done", None),
        ("fail", 1, False, "retry", None),
        ("fail", 2, True, "dead", "max_attempts"),
        ("discard", 1, False, "discarded", None),
        ("bury", 1, False, "dead", "rejected_by_handler"),
        ("later", 1, False, "postponed", None),
    ]
    context, failed = outcomes.seen[1]
    assert (context.handler, context.name, context.tenant_id) == ("shop.handle", "shop.order.placed", "acme")
    assert failed.failure is not None
    assert (failed.failure.error_type, failed.failure.message) == ("ValueError", "broken")
    assert "in handle" in failed.failure.traceback
    assert outcomes.seen[3][1].note == "a test"
    assert outcomes.seen[5][1].delay == 3600
    assert all(outcome.duration > 0 for _, outcome in outcomes.seen)


async def test_it_sees_what_never_reaches_the_handler(stage: Stage) -> None:
    module, outcomes, inside = Module("shop"), Outcomes(), []

    class Inside(Middleware):
        async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
            inside.append(context.event)
            await call_next(context)

    @module.on(Placed, middleware=[outcomes, Inside()], idempotency_key=lambda e: e.order)
    async def handle(event: Placed, session: HandlerSession) -> None: ...

    events = await stage.idle(module)
    await events.publish(Placed(order="same"))
    await events.drain_once()
    await events.publish(Placed(order="same", number=2))
    await events.drain_once()
    await events.publish(Placed(order="bad"))
    await stage.rows("UPDATE events.event SET payload = '{}' WHERE position = (SELECT max(position) FROM events.event)")
    await events.drain_once()
    assert outcomes.kinds == ["done", "duplicate", "dead"]
    assert outcomes.seen[2][1].reason == "invalid_payload"
    assert [event.number for event in inside] == [0]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [ValueError("its own"), Discard("no"), SystemExit(3)], ids=repr)
async def test_its_errors_are_logged_and_change_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture, when: str, error: BaseException
) -> None:
    module, outer, inner = Module("shop"), Outcomes(), Outcomes()

    async def fail(context: AttemptContext, call_next: AttemptNext) -> None:
        if when == "after":
            await call_next(context)
        raise error

    @module.on(Placed, middleware=[outer, Hook(fail), inner])
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2)])
    await events.drain_once()
    assert [row["number"] for row in await stage.rows("SELECT number FROM effect ORDER BY number")] == [1, 2]
    assert await stage.deliveries() == []
    assert outer.kinds == inner.kinds == ["done", "done"]
    first, _ = errors(caplog)
    assert first.startswith("middleware Hook.attempt() failed around handler shop.handle: shop.order.placed ")
    assert type(error).__name__ in first


async def never(context: AttemptContext, call_next: AttemptNext) -> None:
    return


async def twice(context: AttemptContext, call_next: AttemptNext) -> None:
    await call_next(context)
    await call_next(context)


running: list[Any] = []
"""Tasks that middleware has started: somebody has to hold them."""


async def alone(context: AttemptContext, call_next: AttemptNext) -> None:
    task = asyncio.ensure_future(call_next(context))
    await asyncio.sleep(0)
    running.append(task)


async def impatient(context: AttemptContext, call_next: AttemptNext) -> None:
    try:
        await call_next(context)
    finally:
        raise asyncio.CancelledError


@pytest.mark.parametrize("does", [never, twice, alone, impatient])
async def test_the_attempt_is_made_once_whatever_it_does(stage: Stage, does: Any) -> None:
    module, seen, outcomes = Module("shop"), [], Outcomes()

    @module.on(Placed, retry=Retry(3, fixed(0)), middleware=[outcomes, Hook(does)])
    async def handle(event: Placed) -> None:
        await asyncio.sleep(0)
        seen.append(event.number)

    events = await stage.idle(module)
    for number in (1, 2):
        await events.publish(Placed(order="a", number=number), headers={"h": "h"})
    await within(events.drain_once())
    assert seen == [1, 2]
    assert outcomes.kinds == ["done", "done"]
    assert await stage.deliveries() == []


async def test_a_failed_attempt_stays_failed(stage: Stage) -> None:
    module, outcomes = Module("shop"), Outcomes()

    async def pretend(context: AttemptContext, call_next: AttemptNext) -> None:
        outcome = await call_next(context)
        with pytest.raises(AttributeError):
            outcome.kind = "done"

    @module.on(Placed, retry=Retry(1), middleware=[outcomes, Hook(pretend)])
    async def handle(event: Placed) -> None:
        raise ValueError("broken")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert [row["state"] for row in await stage.deliveries()] == ["dead"]


async def test_foreign_headers_that_no_context_can_show_keep_nothing_from_being_handled(stage: Stage) -> None:
    module, seen, outcomes = Module("shop"), [], Outcomes()

    @module.on(Placed, middleware=[outcomes])
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2)])
    await stage.rows("UPDATE events.event SET headers = '[1]' WHERE payload::jsonb ->> 'number' = '1'")
    await events.drain_once()
    assert (seen, outcomes.kinds) == ([1, 2], ["done"])


@pytest.mark.parametrize("again", [False, True], ids=["in the lane", "as a redelivery"])
@pytest.mark.parametrize("session", [False, True], ids=["without session", "with session"])
async def test_one_that_hangs_before_the_attempt_spends_none(stage: Stage, session: bool, again: bool) -> None:
    module, seen, hangs = Module("shop"), [], [True]

    async def hang(context: AttemptContext, call_next: AttemptNext) -> None:
        if hangs[0] and context.redelivered == again:
            await asyncio.Event().wait()
        await call_next(context)

    if session:

        @module.on(Placed, timeout=0.3, retry=Retry(2, fixed(0)), middleware=[Hook(hang)])
        async def with_session(event: Placed, session: HandlerSession) -> None:
            work(event)
    else:

        @module.on(Placed, timeout=0.3, retry=Retry(2, fixed(0)), middleware=[Hook(hang)])
        async def without(event: Placed) -> None:
            work(event)

    def work(event: Event) -> None:
        seen.append(event)
        if again and len(seen) == 1:
            raise ValueError("once more")

    events = await stage.idle(module)
    await publish(events, [Placed(order="a")])
    await within(events.drain_once())
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["attempts"]) == ("waiting", "retry", int(again))
    assert row["error_type"] == "MiddlewareTimeout"
    assert "Hook.attempt(): did not call call_next within 0.3 s" in row["error_message"]
    hangs[0] = False
    await stage.make_due()
    await events.drain_once()
    assert [row["state"] for row in await stage.deliveries()] == ["done"]
    assert len(seen) == 1 + again


@pytest.mark.parametrize("goes_on", [False, True])
async def test_one_that_comes_back_after_it_was_given_up_starts_nothing(stage: Stage, goes_on: bool) -> None:
    module, seen, came_back = Module("shop"), [], []

    async def stubborn(context: AttemptContext, call_next: AttemptNext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if goes_on:
                came_back.append((await call_next(context)).kind)
            else:
                came_back.append("interrupted")

    @module.on(Placed, timeout=0.2, middleware=[Hook(stubborn)])
    async def handle(event: Placed) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    await until(lambda: came_back)
    await asyncio.sleep(0)
    assert (came_back, seen) == (["interrupted"], [])
    assert [(row["state"], row["attempts"]) for row in await stage.deliveries()] == [("waiting", 0)]


@pytest.mark.parametrize("again", [False, True], ids=["in the lane", "as a redelivery"])
async def test_one_that_hangs_after_the_attempt_leaves_its_outcome(stage: Stage, again: bool) -> None:
    module, seen = Module("shop"), []

    async def hang(context: AttemptContext, call_next: AttemptNext) -> None:
        outcome = await call_next(context)
        if outcome.kind == "done":
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    seen.append("cancelled")
                    if seen.count("cancelled") == 2:
                        raise

    @module.on(Placed, timeout=0.3, retry=Retry(2, fixed(0)), middleware=[Hook(hang)])
    async def handle(event: Placed, session: HandlerSession) -> None:
        if again and "failed" not in seen:
            seen.append("failed")
            raise ValueError("once more")
        await effect(session, "handle", event.number)

    events = await stage.idle(module)
    await events.publish(Placed(order="a", number=1))
    await within(events.drain_once())
    assert [row["number"] for row in await stage.rows("SELECT number FROM effect")] == [1]
    assert [row["state"] for row in await stage.deliveries()] == (["done"] if again else [])
    assert "cancelled" in seen


@pytest.mark.parametrize("again", [False, True], ids=["in the lane", "as a redelivery"])
async def test_it_sees_a_time_out(stage: Stage, again: bool) -> None:
    module, outcomes, runs = Module("shop"), Outcomes(), []

    @module.on(Placed, timeout=0.2, retry=Retry(1 + again, fixed(0)), middleware=[outcomes])
    async def handle(event: Placed, session: HandlerSession) -> None:
        runs.append(event)
        if again and len(runs) == 1:
            raise ValueError("once more")
        await asyncio.Event().wait()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    await until(lambda: len(outcomes.seen) == 1 + again)
    outcome = outcomes.seen[-1][1]
    assert (outcome.kind, outcome.reason, outcome.duration) == ("dead", "timed_out", 0.2)
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"]) == ("dead", "timed_out")


async def test_its_own_time_is_not_the_handlers(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def slow(context: AttemptContext, call_next: AttemptNext) -> None:
        await asyncio.sleep(0.35)
        outcome = await call_next(context)
        await asyncio.sleep(0.35)
        seen.append((outcome.kind, outcome.duration < 0.5))

    @module.on(Placed, timeout=0.5, retry=Retry(1), middleware=[Hook(slow)])
    async def handle(event: Placed) -> None:
        await asyncio.sleep(0.25)

    @module.on(Pinged, timeout=0.5, retry=Retry(1), middleware=[Hook(slow)])
    async def pinged(event: Pinged, session: HandlerSession) -> None:
        await asyncio.sleep(0.25)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a"), Pinged()])
    await within(events.drain_once())
    assert await stage.deliveries() == []
    assert seen == [("done", True), ("done", True)]


@pytest.mark.parametrize("again", [False, True], ids=["in the lane", "as a redelivery"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_that_hangs_does_not_hold_up_a_stop(stage: Stage, when: str, again: bool) -> None:
    module, hanging, runs = Module("shop"), asyncio.Event(), []

    async def hang(context: AttemptContext, call_next: AttemptNext) -> None:
        if again and context.attempt == 1:
            await call_next(context)
            return
        if when == "after":
            await call_next(context)
        hanging.set()
        await asyncio.Event().wait()

    @module.on(Placed, timeout=600, retry=Retry(2, fixed(0)), middleware=[Hook(hang)])
    async def handle(event: Placed, session: HandlerSession) -> None:
        runs.append(event)
        if again and len(runs) == 1:
            raise ValueError("once more")
        await effect(session, "handle", 1)

    events = await stage.running(module, shutdown_grace=0.1)
    await events.publish(Placed(order="a"))
    await within(hanging.wait())
    await within(events.stop())
    states = [(row["state"], row["attempts"]) for row in await stage.deliveries()]
    if when == "before":
        assert states == [("waiting", int(again))]
    else:
        assert states == ([("done", 2)] if again else [])
        assert await stage.value("SELECT count(*) FROM effect") == 1


async def test_publishing_in_it_is_refused_as_in_a_handler(stage: Stage) -> None:
    refused: list[str] = []
    holder: list[Events] = []

    async def publish_aside(context: AttemptContext, call_next: AttemptNext) -> None:
        try:
            await holder[0].publish(Pinged())
        except DetachedPublish as error:
            refused.append(str(error))
        await call_next(context)

    module = Module("shop")

    @module.on(Placed, middleware=[Hook(publish_aside)])
    async def handle(event: Placed) -> None: ...

    holder.append(await stage.idle(module))
    await holder[0].publish(Placed(order="a"))
    await holder[0].drain_once()
    [message] = refused
    assert "handler 'shop.handle' is active" in message
