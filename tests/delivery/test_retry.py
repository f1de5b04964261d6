"""Retries, limits, and what a handler may say about its delivery's fate."""

import asyncio

import pytest

from fastapi_events import Delivery, Discard, Module, Retry, RetryLater, fixed
from fastapi_events.errors import DeadLetter
from tests.delivery.stage import Placed, Shipped, Stage, publish, until, within


async def test_a_retry_waits_for_its_back_off_by_the_database_clock(stage: Stage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(3, fixed(3600)))
    async def handle(event: Placed, delivery: Delivery) -> None:
        attempts.append((delivery.attempt, delivery.redelivered))
        raise ValueError("no")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    await events.drain_once()
    assert attempts == [(1, False)]
    waits = await stage.value("SELECT extract(epoch FROM due_at - clock_timestamp()) FROM events.parked_key")
    assert 3590 < waits < 3601
    await stage.make_due()
    await events.drain_once()
    assert attempts == [(1, False), (2, True)]
    [delivery] = await stage.deliveries("waiting")
    assert (delivery["reason"], delivery["attempts"]) == ("retry", 2)


async def test_the_last_attempt_ends_in_a_dead_letter_that_tells_everything(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed) -> None:
        raise ValueError(f"order {event.order} is cursed")

    events = await stage.idle(module)
    published = await events.publish(Placed(order="a", number=7))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert (dead["reason"], dead["attempts"], dead["error_type"]) == ("max_attempts", 2, "ValueError")
    assert dead["error_message"] == "order a is cursed"
    assert '"number": 7' in dead["event"]
    assert str(published.event_id) in dead["event"]
    attempts = await stage.rows("SELECT number, outcome, traceback FROM events.attempt ORDER BY number")
    assert [(row["number"], row["outcome"]) for row in attempts] == [(1, "retry"), (2, "dead")]
    assert all("is cursed" in row["traceback"] for row in attempts)


async def test_give_up_on_wins_over_retry_on(stage: Stage) -> None:
    class Gone(LookupError): ...

    module, calls = Module("shop"), []

    @module.on(Placed, retry=Retry(5, fixed(0), give_up_on=Gone))
    async def gives_up(event: Placed) -> None:
        calls.append("gives_up")
        raise Gone

    @module.on(Placed, retry=Retry(2, fixed(0), retry_on=LookupError))
    async def retries(event: Placed) -> None:
        calls.append("retries")
        raise Gone

    @module.on(Placed, retry=Retry(5, fixed(0), retry_on=LookupError))
    async def other(event: Placed) -> None:
        calls.append("other")
        raise ValueError

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert sorted(calls) == ["gives_up", "other", "retries", "retries"]
    reasons = {row["handler"]: row["reason"] for row in await stage.deliveries("dead")}
    assert reasons == {"shop.gives_up": "gave_up", "shop.other": "gave_up", "shop.retries": "max_attempts"}


async def test_the_event_class_and_the_settings_give_the_policy_that_a_handler_lacks(stage: Stage) -> None:
    from fastapi_events import Event

    class Hinted(Event, name="shop.hint.given", retry=Retry(2, fixed(0))):
        pass

    module, calls = Module("shop"), []

    @module.on(Hinted)
    async def by_class(event: Hinted) -> None:
        calls.append("class")
        raise ValueError

    @module.on(Placed)
    async def by_settings(event: Placed) -> None:
        calls.append("settings")
        raise ValueError

    events = await stage.idle(module, max_attempts=4)
    await events.publish(Hinted())
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert (calls.count("class"), calls.count("settings")) == (2, 4)


async def test_retry_later_spends_no_attempt_and_is_bounded_by_its_age(stage: Stage) -> None:
    module, attempts, age = Module("shop"), [], [86_400.0]

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise RetryLater(60, max_age=age[0])

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    for _ in range(4):
        await events.drain_once()
        await stage.make_due()
    assert attempts == [1, 1, 1, 1]
    [waiting] = await stage.deliveries("waiting")
    assert (waiting["attempts"], waiting["postponed"]) == (0, 4)
    age[0] = 30.0
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["reason"] == "max_attempts"
    assert "max_age of 30 s" in dead["error_message"]


async def test_retry_later_at_once_lets_a_drain_by_hand_come_to_its_end(stage: Stage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise RetryLater(0)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    assert attempts[:1] == [1]
    [waiting] = await stage.deliveries("waiting")
    assert "retry after 0.1 s" in waiting["error_message"]


async def test_discard_is_kept_with_its_reason_and_lets_followers_pass(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        if event.number == 1:
            raise Discard("a test order")
        seen.append(event.number)

    events = await stage.idle(module)
    for number in (1, 2):
        await events.publish(Placed(order="a", number=number))
    await events.drain_once()
    assert seen == [2]
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["note"]) == ("discarded", "rejected_by_handler", "a test order")


async def test_dead_letter_is_dead_at_once(stage: Stage) -> None:
    module, calls = Module("shop"), []

    @module.on(Placed, retry=Retry(9, fixed(0)))
    async def handle(event: Placed) -> None:
        calls.append(1)
        raise DeadLetter("no such customer")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [row] = await stage.deliveries("dead")
    assert (row["reason"], row["error_message"], len(calls)) == ("rejected_by_handler", "no such customer", 1)


@pytest.mark.parametrize(
    "steering",
    [
        lambda: Discard("NUL \x00, half a pair \ud800, \x1b[2J"),
        lambda: Discard("x" * 5_000_000),
        lambda: Discard(None),
        lambda: Discard(42),
        lambda: DeadLetter("NUL \x00, half a pair \ud800"),
        lambda: DeadLetter(42),
        lambda: RetryLater(float("nan")),
        lambda: RetryLater(float("inf"), max_age=float("inf")),
        lambda: RetryLater(1e300, max_age=1e301),
        lambda: RetryLater(-5),
        lambda: RetryLater(5e8, max_age=float("inf")),
    ],
    ids=["nul", "huge", "none", "number", "dead nul", "dead number", "nan", "endless", "beyond", "negative", "far"],
)
async def test_no_steering_can_stop_the_lane(stage: Stage, steering: object) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        if event.order == "bad":
            raise steering()
        seen.append(event.order)

    events = await stage.idle(module)
    await events.publish(Placed(order="bad"))
    await events.publish(Placed(order="good"))
    await within(events.drain_once(), 5)
    assert seen == ["good"]
    [row] = await stage.deliveries()
    assert row["state"] in ("waiting", "dead", "discarded")
    assert len(row["note"] or "") <= 8_000


async def test_retries_of_a_handler_that_hangs_leave_room_for_those_of_others(stage: Stage) -> None:
    module, hanging, go, seen = Module("shop"), [], asyncio.Event(), []

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def hangs(event: Placed, delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise ValueError("no")
        hanging.append(event.order)
        await go.wait()

    @module.on(Shipped, retry=Retry(2, fixed(0)))
    async def works(event: Shipped, delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise ValueError("no")
        seen.append(event.order)

    events = await stage.running(module, lanes=["change"], concurrency={"events_change": 4})
    await publish(events, [Placed(order=str(number)) for number in range(10)])
    await until(lambda: len(hanging) == 2)
    await publish(events, [Shipped(order=str(number)) for number in range(10)])
    await until(lambda: len(seen) == 10)
    assert len(hanging) == 2
    go.set()
    await until(lambda: len(hanging) == 10)
