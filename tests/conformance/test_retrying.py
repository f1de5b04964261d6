"""What becomes of a handler that fails: retries with back-off, and what it may ask for by raising."""

from datetime import timedelta

from fastapi_events import (
    DeadLetter,
    Delivery,
    Discard,
    EventPublisher,
    HandlerSession,
    Module,
    Retry,
    RetryLater,
    exponential,
    fixed,
)  # fmt: skip
from tests.conformance.backends import Backend, effect, publish
from tests.delivery.stage import Placed, Shipped

HOUR, NONE = fixed(3600, jitter=False), fixed(0)


async def test_a_failure_is_tried_again_until_it_succeeds(backend: Backend) -> None:
    module, seen = Module("shop"), list[tuple[int, bool]]()

    @module.on(Placed, retry=Retry(5, backoff=NONE))
    async def flaky(event: Placed, delivery: Delivery) -> None:
        seen.append((delivery.attempt, delivery.redelivered))
        if delivery.attempt < 3:
            raise RuntimeError("again")

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    assert seen == [(1, False), (2, True), (3, True)]
    [event] = (await events.observe.events()).events
    assert event.status == "done"


async def test_back_off_keeps_an_event_until_its_time(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, retry=Retry(3, backoff=exponential(60, jitter=False)))
    async def failing(event: Placed, delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        raise RuntimeError("again")

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    await backend.later(50)
    await events.drain_once()
    assert seen == [1]
    await backend.later(11)
    await events.drain_once()
    await backend.later(61)  # the second back-off is twice the first
    await events.drain_once()
    assert seen == [1, 2]
    await backend.later(60)
    await events.drain_once()
    assert seen == [1, 2, 3]
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, dead.attempts, dead.error_message) == ("max_attempts", 3, "again")


async def test_followers_of_a_failed_event_wait_for_it(backend: Backend) -> None:
    module, seen = Module("shop"), list[tuple[str, int, int]]()

    @module.on(Placed, retry=Retry(2, backoff=HOUR))
    async def strict(event: Placed, delivery: Delivery) -> None:
        if event.number == 1 and delivery.attempt == 1:
            raise RuntimeError("again")
        seen.append(("strict", event.number, delivery.attempt))

    @module.on(Placed, ordered=False)
    async def loose(event: Placed, delivery: Delivery) -> None:
        seen.append(("loose", event.number, delivery.attempt))

    events = await backend.idle(module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2)), Placed(order="b", number=3))
    await events.drain_once()
    await publish(events, Placed(order="a", number=4))
    await events.drain_once()
    assert sorted(seen) == [("loose", 1, 1), ("loose", 2, 1), ("loose", 3, 1), ("loose", 4, 1), ("strict", 3, 1)]
    seen.clear()
    await backend.later(3601)
    await events.drain_once()
    assert seen == [("strict", 1, 2), ("strict", 2, 1), ("strict", 4, 1)]


async def test_an_unordered_failure_holds_nobody_up(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, ordered=False, retry=Retry(2, backoff=HOUR))
    async def loose(event: Placed, delivery: Delivery) -> None:
        if event.number == 1 and delivery.attempt == 1:
            raise RuntimeError("again")
        seen.append(event.number)

    events = await backend.idle(module)
    await publish(events, Placed(order="a", number=1), Placed(order="a", number=2))
    await events.drain_once()
    await backend.later(3601)
    await events.drain_once()
    assert seen == [2, 1]


async def test_retry_later_spends_no_attempt(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, retry=Retry(1))
    async def busy(event: Placed, delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        if len(seen) < 4:
            raise RetryLater(timedelta(minutes=10))

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    for _ in range(5):
        await events.drain_once()
        await events.drain_once()
        await backend.later(601)
    assert seen == [1, 1, 1, 1]
    assert (await events.observe.dead_letters()).matching == 0


async def test_postponing_has_an_end(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed)
    async def never(event: Placed) -> None:
        seen.append(1)
        raise RetryLater(600, max_age=1500)

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    for _ in range(4):
        await events.drain_once()
        await backend.later(601)
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, dead.error_type, len(seen)) == ("max_attempts", "RetryLater", 3)


async def test_a_discard_is_done_with(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, id="choosy")
    async def choosy(event: Placed, session: HandlerSession) -> None:
        if event.number == 1:
            await effect(session, "choosy", 1)
            raise Discard("not for us")
        seen.append(event.number)

    events = await backend.idle(module)
    await publish(events, Placed(order="a", number=1), Placed(order="a", number=2))
    await events.drain_once()
    assert (seen, await backend.effects(events)) == ([2], [])
    found = (await events.observe.events("status:discarded")).events
    detail = await events.observe.event(found[0].id)
    assert detail is not None
    assert [(one.state, one.note, one.attempts) for one in detail.deliveries] == [("discarded", "not for us", 1)]


async def test_a_handler_can_give_up_at_once(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(5, backoff=NONE))
    async def hopeless(event: Placed) -> None:
        raise DeadLetter("no such customer")

    @module.on(Placed, retry=Retry(5, give_up_on=(KeyError,)))
    async def picky(event: Placed) -> None:
        raise KeyError("sku")

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    dead = (await events.observe.dead_letters()).dead_letters
    assert sorted((one.reason, one.attempts) for one in dead) == [("gave_up", 1), ("rejected_by_handler", 1)]


async def test_every_failed_attempt_is_kept(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(2, backoff=NONE))
    async def failing(event: Placed, delivery: Delivery) -> None:
        raise RuntimeError(f"attempt {delivery.attempt}")

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    found = await events.observe.delivery(dead.id)
    assert found is not None
    history = sorted(found.history, key=lambda attempt: attempt.number)
    assert [(one.number, one.outcome, one.error_message) for one in history] == [
        (1, "retry", "attempt 1"),
        (2, "dead", "attempt 2"),
    ]
    assert "test_retrying.py" in str(history[0].traceback)


async def test_a_failed_attempt_has_published_nothing(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, retry=Retry(2, backoff=NONE))
    async def flaky(event: Placed, publish: EventPublisher, delivery: Delivery) -> None:
        await publish(Shipped(order=event.order, number=delivery.attempt))
        if delivery.attempt == 1:
            raise RuntimeError("again")

    @module.on(Shipped)
    async def ship(event: Shipped) -> None:
        seen.append(event.number)

    events = await backend.idle(module)
    await publish(events, Placed(order="a"))
    await events.drain_once()
    assert seen == [2]
