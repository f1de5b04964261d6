"""A handler that runs for longer than the inline budget holds up its own key, for itself, and nothing else."""

import asyncio
import threading
from typing import Any

import pytest

from fastapi_events import Delivery, Event, EventPublisher, Events, HandlerSession, Module, Retry, fixed
from tests.concurrency.test_fencing import EXPIRE_KEYS, EXPIRE_LANES
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, effect, publish, until, within

BUDGET = 0.05


class Mailed(Event, name="shop.order.mailed", direction="outbound", aggregate_id="order"):
    order: str


class Slow:
    """A handler that waits at its first event of the order ``slow`` until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.seen: list[tuple[str, int]] = []
        self.calls = 0

    async def __call__(self, event: Placed) -> None:
        self.calls += 1
        if event.order == "slow" and not self.go.is_set():
            self.reached.set()
            await self.go.wait()
        self.seen.append((event.order, event.number))


async def reasons(stage: Stage) -> list[tuple[str, int, str, str]]:
    """What the database says of deliveries: handler, number of the event, state and reason."""
    rows = await stage.rows(
        "SELECT h.name, (e.payload ->> 'number')::int AS number, d.state, d.reason FROM events.delivery d "
        "JOIN events.handler h ON h.id = d.handler_id JOIN events.event e ON e.position = d.position ORDER BY 2, 1"
    )
    return [tuple(row) for row in rows]


async def detached(stage: Stage, count: int = 1) -> bool:
    return bool(await stage.value("SELECT count(*) FROM events.delivery WHERE reason = 'detached'") == count)


async def test_a_slow_handler_holds_up_its_own_key_and_nothing_else(stage: Stage) -> None:
    module, slow, other = Module("shop"), Slow(), []

    @module.on(Placed)
    async def sluggish(event: Placed) -> None:
        await slow(event)

    @module.on(Placed)
    async def quick(event: Placed) -> None:
        other.append((event.order, event.number))

    events = await stage.idle(module, inline_budget=BUDGET, batch_size=4)
    orders = [Placed(order=order, number=number) for number in range(6) for order in ("slow", "a")]
    await publish(events, orders)
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: len(other) == 12 and slow.seen == [("a", number) for number in range(6)])
    await until(lambda: stage.value("SELECT count(*) = 6 FROM events.delivery"))
    behind = [("shop.sluggish", number, "waiting", "key_blocked") for number in range(1, 6)]
    assert await reasons(stage) == [("shop.sluggish", 0, "waiting", "detached"), *behind]
    slow.go.set()
    assert await within(draining) > 0
    assert [number for order, number in slow.seen if order == "slow"] == list(range(6))
    assert {row["state"] for row in await stage.deliveries()} == {"done"}
    assert slow.calls == 12


async def test_events_without_order_do_not_wait_for_a_detached_one(stage: Stage) -> None:
    module, slow = Module("shop"), Slow()

    @module.on(Placed, ordered=False)
    async def handle(event: Placed) -> None:
        await slow(event)

    events = await stage.running(module, inline_budget=BUDGET, batch_size=1)
    await events.publish(Placed(order="slow"))
    await until(lambda: detached(stage))
    await publish(events, [Placed(order="a", number=number) for number in (1, 2)])
    await until(lambda: slow.seen == [("a", 1), ("a", 2)])
    slow.go.set()
    await until(lambda: ("slow", 0) in slow.seen)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_failure_after_the_budget_is_an_attempt_like_any_other(stage: Stage, attempts: int) -> None:
    module, slow, seen = Module("shop"), Slow(), []

    @module.on(Placed, retry=Retry(attempts, fixed(0)))
    async def handle(event: Placed, delivery: Delivery) -> None:
        seen.append((event.number, delivery.attempt))
        if event.number == 0 and delivery.attempt == 1:
            await slow(Placed(order="slow"))
            raise ValueError("late")

    events = await stage.idle(module, inline_budget=BUDGET)
    await publish(events, [Placed(order="slow", number=number) for number in range(2)])
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: detached(stage))
    slow.go.set()
    await within(draining)
    first, second = await stage.deliveries()
    if attempts == 1:
        assert (first["state"], first["reason"], first["attempts"]) == ("dead", "max_attempts", 1)
        assert (second["state"], second["reason"], seen) == ("waiting", "key_blocked", [(0, 1)])
        assert await stage.value("SELECT due_at = 'infinity' FROM events.parked_key WHERE blocked")
    else:
        assert (first["state"], first["attempts"], second["state"]) == ("done", 2, "done")
        assert seen == [(0, 1), (0, 2), (1, 1)]
    assert await stage.value("SELECT count(*) FROM events.attempt WHERE error_message = 'late'") == 1
    assert await stage.value("SELECT bool_and(duration > 0.04) FROM events.attempt WHERE error_message = 'late'")


async def test_the_time_out_counts_from_the_start(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1), timeout=0.3)
    async def handle(event: Placed) -> None:
        await asyncio.Event().wait()

    events = await stage.idle(module, inline_budget=BUDGET)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 5)
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"]) == ("dead", "timed_out")
    assert await stage.value("SELECT duration BETWEEN 0.3 AND 4 FROM events.attempt")


async def test_a_detached_transaction_commits_its_effects_and_its_mark(stage: Stage) -> None:
    module, slow = Module("shop"), Slow()

    @module.on(Placed, id="shop.transactional")
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "transactional", event.number)
        await slow(event)

    events = await stage.idle(module, inline_budget=BUDGET)
    await publish(events, [Placed(order="slow", number=number) for number in range(3)])
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: detached(stage))
    assert await stage.value("SELECT count(*) FROM effect") == 0
    slow.go.set()
    await within(draining)
    assert await stage.value("SELECT array_agg(number ORDER BY number) FROM effect") == [0, 1, 2]
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 3


async def test_what_a_detached_handler_publishes_is_published_with_its_success(stage: Stage) -> None:
    module, slow, seen = Module("shop"), Slow(), []

    @module.on(Placed)
    async def handle(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order))
        await slow(event)

    @module.on(Shipped)
    async def shipped(event: Shipped) -> None:
        seen.append(event.order)

    events = await stage.idle(module, inline_budget=BUDGET)
    await events.publish(Placed(order="slow"))
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: detached(stage))
    assert await stage.value("SELECT count(*) FROM events.event") == 1
    slow.go.set()
    await within(draining)
    assert seen == ["slow"]


async def test_a_def_handler_is_detached_too(stage: Stage) -> None:
    module, release, seen = Module("shop"), threading.Event(), []

    @module.on(Placed)
    def handle(event: Placed) -> None:
        if event.order == "slow":
            release.wait(10)
        seen.append(event.order)

    events = await stage.running(module, inline_budget=BUDGET, batch_size=1)
    await events.publish(Placed(order="slow"))
    await until(lambda: detached(stage))
    await events.publish(Placed(order="a"))
    await until(lambda: seen == ["a"])
    release.set()
    await until(lambda: seen == ["a", "slow"])


def shop(slow: Slow, heard: list[Any]) -> Module:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, delivery: Delivery) -> None:
        heard.append((event.number, delivery.redelivered))
        await slow(event)

    return module


async def test_another_process_takes_a_detached_delivery_whose_process_is_silent(stage: Stage) -> None:
    heard: list[Any] = []
    silent, heir = Slow(), Slow()
    heir.go.set()
    first = await stage.idle(shop(silent, []), inline_budget=BUDGET, heartbeat=2.4)
    second = await stage.idle(shop(heir, heard))
    await publish(first, [Placed(order="slow", number=number) for number in range(2)])
    draining = asyncio.create_task(first.drain_once())
    await until(lambda: detached(stage))
    await until(lambda: stage.value("SELECT count(*) = 2 FROM events.delivery"))
    assert await second.drain_once() == 0
    await stage.rows(EXPIRE_KEYS)
    await within(second.drain_once())
    assert heard == [(0, True), (1, False)]
    silent.go.set()
    await within(draining)
    assert first.runtime.counters.stale_settles == 1
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


async def test_the_lease_of_a_detached_delivery_is_extended(stage: Stage) -> None:
    slow = Slow()
    events = await stage.idle(shop(slow, []), inline_budget=BUDGET, heartbeat=0.1, lease=2.0)
    await events.publish(Placed(order="slow"))
    draining = asyncio.create_task(events.drain_once())
    await until(lambda: detached(stage))
    due = await stage.value("SELECT due_at FROM events.parked_key")
    await until(lambda: stage.value("SELECT max(due_at) > $1 FROM events.parked_key", due))
    slow.go.set()
    await within(draining)


async def test_a_stop_gives_a_detached_delivery_back_at_once(stage: Stage) -> None:
    heard: list[Any] = []
    stuck, heir = Slow(), Slow()
    heir.go.set()
    first = await stage.running(shop(stuck, []), inline_budget=BUDGET, shutdown_grace=0.1)
    await first.publish(Placed(order="slow"))
    await until(lambda: detached(stage))
    await stage.running(shop(heir, heard), lease=600.0, heartbeat=60.0, **SLOW)
    await within(first.stop())
    await until(lambda: heard == [(0, False)])
    await until(lambda: stage.value("SELECT state = 'done' AND postponed = 1 FROM events.delivery"))


async def test_a_stop_waits_for_a_detached_handler_within_the_grace(stage: Stage) -> None:
    slow = Slow()
    events = await stage.running(shop(slow, []), inline_budget=BUDGET, shutdown_grace=10.0)
    await events.publish(Placed(order="slow"))
    await until(lambda: detached(stage))
    stopping = asyncio.create_task(events.stop())
    await asyncio.sleep(0)
    slow.go.set()
    await within(stopping)
    [row] = await stage.deliveries()
    assert (row["state"], row["attempts"], slow.calls) == ("done", 1, 1)


async def test_a_batch_that_was_lost_takes_its_detached_attempts_with_it(stage: Stage) -> None:
    heard: list[Any] = []
    zombie, heir, held = Slow(), Slow(), asyncio.Event()
    heir.go.set()
    module = shop(zombie, [])

    @module.on(Pinged)
    async def hold(event: Pinged) -> None:
        await held.wait()

    first = await stage.idle(module, inline_budget=0.3, heartbeat=2.4, concurrency={"events_change": 2})
    second = await stage.idle(shop(heir, heard))
    await publish(first, [Placed(order="slow"), Pinged()])
    draining = asyncio.create_task(first.drain_once())
    await within(zombie.reached.wait())
    await stage.rows(EXPIRE_LANES)
    await within(second.drain_once())
    assert heard == [(0, True)]
    held.set()
    await within(draining)
    assert not zombie.go.is_set()
    assert await stage.deliveries("dead") == []
    assert (heard, zombie.seen) == ([(0, True)], [])


async def test_detached_handlers_count_among_those_that_run_at_once(stage: Stage) -> None:
    module, running, most, mailed, go = Module("shop"), set[int](), [], [], asyncio.Event()

    @module.on(Pinged)
    async def handle(event: Pinged) -> None:
        running.add(event.number)
        most.append(len(running))
        await go.wait()
        running.discard(event.number)

    @module.on(Mailed)
    async def mail(event: Mailed) -> None:
        mailed.append(event.order)

    events = await stage.running(module, inline_budget=BUDGET, concurrency={"events_change": 3})
    await publish(events, [Pinged(number=number) for number in range(3)])
    await until(lambda: detached(stage, 3))
    await publish(events, [Pinged(number=number) for number in range(3, 10)])
    await until(lambda: stage.value("SELECT count(*) > 0 FROM events.cursor_log WHERE lease_until > clock_timestamp()"))
    await events.publish(Mailed(order="a"))
    await until(lambda: mailed)
    assert running == {0, 1, 2}
    go.set()
    await until(lambda: len(most) == 10 and not running)
    assert max(most) == 3


async def test_handlers_of_one_lane_that_hang_leave_connections_to_the_others(stage: Stage) -> None:
    module, hanging, go = Module("shop"), [], asyncio.Event()

    @module.on(Mailed)
    async def mail(event: Mailed, session: HandlerSession) -> None:
        hanging.append(event.order)
        await go.wait()

    @module.on(Placed)
    async def place(event: Placed, session: HandlerSession) -> None:
        await effect(session, "place", event.number)

    events = await stage.running(module, inline_budget=BUDGET, handler_connections=4)
    await publish(events, [Mailed(order=str(number)) for number in range(10)])
    await until(lambda: len(hanging) == 2)
    await publish(events, [Placed(order="a", number=number) for number in range(20)])
    await until(lambda: stage.value("SELECT count(*) = 20 FROM effect"))
    assert len(hanging) == 2
    go.set()
    await until(lambda: len(hanging) == 10)


async def test_an_event_is_not_handled_beside_itself_where_its_key_is_redriven_meanwhile(stage: Stage) -> None:
    module, slow, failing, heard = Module("shop"), Slow(), [True], []

    @module.on(Placed, retry=Retry(1), on_dead="continue")
    async def handle(event: Placed) -> None:
        if event.number == 0 and failing:
            raise ValueError("no")
        heard.append(("begun", event.number))
        try:
            if event.number == 1:
                await slow(event)
        finally:
            heard.append(("ended", event.number))

    async def redrive(events: Events) -> None:
        [dead] = await stage.deliveries("dead")
        await events.operations.redrive([dead["id"]], actor="somebody")

    events = await stage.idle(module, inline_budget=0.5)
    await events.publish(Placed(order="slow", number=0))
    await events.drain_once()
    await events.publish(Placed(order="slow", number=1))
    draining = asyncio.create_task(events.drain_once())
    await within(slow.reached.wait())
    failing.clear()
    await redrive(events)
    await until(lambda: ("ended", 1) in heard)
    slow.go.set()
    await within(draining)
    await within(events.drain_once())
    assert [row["state"] for row in await stage.deliveries()] == ["done", "done"]
    assert heard[:2] == [("begun", 1), ("ended", 1)]
    assert heard[2:] == [(what, number) for number in (0, 1) for what in ("begun", "ended")]


async def test_a_full_lane_stops_in_time_and_gives_everything_back(stage: Stage) -> None:
    module, other, stuck, seen = Module("shop"), Module("shop"), asyncio.Event(), []

    @module.on(Pinged)
    async def hang(event: Pinged) -> None:
        stuck.set()
        await asyncio.Event().wait()

    @other.on(Pinged, id="shop.hang")
    async def work(event: Pinged) -> None:
        seen.append(event.number)

    first = await stage.running(module, inline_budget=BUDGET, concurrency={"events_change": 1}, shutdown_grace=0.1)
    await publish(first, [Pinged(number=number) for number in range(5)])
    await within(stuck.wait())
    second = await stage.running(other, lease=600.0, heartbeat=60.0, **SLOW)
    await within(first.stop())
    await until(lambda: sorted(seen) == [0, 1, 2, 3, 4])
    await within(second.stop())
