"""Order: per handler and key, whatever fails; nothing else waits."""

import asyncio

import pytest

from fastapi_events import DeadLetter, Delivery, Module, Retry, RetryLater, fixed
from tests.delivery.stage import Pinged, Placed, Stage, publish, until, within


def orders(count: int, order: str = "a") -> list[Placed]:
    return [Placed(order=order, number=number) for number in range(1, count + 1)]


async def test_followers_of_a_failed_event_wait_for_that_handler_and_key_only(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(3, fixed(3600)))
    async def flaky(event: Placed, delivery: Delivery) -> None:
        seen.append(("flaky", event.order, event.number))
        if (event.order, event.number, delivery.attempt) == ("a", 2, 1):
            raise ValueError("not yet")

    @module.on(Placed)
    async def steady(event: Placed) -> None:
        seen.append(("steady", event.order, event.number))

    events = await stage.idle(module)
    await publish(events, orders(3))
    await publish(events, orders(2, "b"))
    await events.drain_once()
    await publish(events, [Placed(order="a", number=4)])
    await events.drain_once()
    assert [number for name, order, number in seen if (name, order) == ("steady", "a")] == [1, 2, 3, 4]
    assert [number for name, order, number in seen if (name, order) == ("flaky", "b")] == [1, 2]
    assert [number for name, order, number in seen if (name, order) == ("flaky", "a")] == [1, 2]
    assert [(row["reason"], row["state"]) for row in await stage.deliveries()] == [
        ("retry", "waiting"), ("key_blocked", "waiting"), ("key_blocked", "waiting"),
    ]  # fmt: skip
    await stage.make_due()
    await events.drain_once()
    assert [number for name, order, number in seen if (name, order) == ("flaky", "a")] == [1, 2, 2, 3, 4]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}
    await publish(events, [Placed(order="a", number=5)])
    await events.drain_once()
    assert seen[-1][2] == 5  # the key is free again: no further delivery
    assert len(await stage.deliveries()) == 3


async def test_a_dead_head_parks_its_followers_until_it_is_redriven_and_then_order_holds(stage: Stage) -> None:
    module, seen, mended = Module("shop"), [], []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        if event.number == 1 and not mended:
            raise ValueError("broken")
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, orders(3))
    await events.drain_once()
    await publish(events, [Placed(order="a", number=4), Placed(order="b", number=9)])
    await events.drain_once()
    assert seen == [9]
    [dead] = await stage.deliveries("dead")
    mended.append(True)
    await events.operations.redrive([dead["id"]], actor="me")
    await events.drain_once()
    assert seen == [9, 1, 2, 3, 4]


async def test_a_redriven_head_that_dies_again_parks_its_key_again(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed) -> None:
        seen.append(event.number)
        if event.number == 1:
            raise ValueError("broken")

    events = await stage.idle(module)
    await publish(events, orders(2))
    await events.drain_once()
    for _ in range(2):
        [dead] = await stage.deliveries("dead")
        await events.operations.redrive([dead["id"]], actor="me")
        await events.drain_once()
    assert seen == [1] * 6
    [dead] = await stage.deliveries("dead")
    assert (dead["attempts"], dead["redrives"]) == (6, 2)
    await events.operations.discard([dead["id"]], actor="me", reason="a test order")
    await events.drain_once()
    assert seen == [1] * 6 + [2]
    assert [(row["state"], row["note"]) for row in await stage.deliveries()] == [
        ("discarded", "a test order"), ("done", None),
    ]  # fmt: skip


async def test_on_dead_continue_lets_followers_pass(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)), on_dead="continue")
    async def late(event: Placed) -> None:
        seen.append(("late", event.number))
        if event.number == 1:
            raise ValueError("broken")

    @module.on(Placed, retry=Retry(1), on_dead="continue")
    async def at_once(event: Placed) -> None:
        seen.append(("at once", event.number))
        if event.number == 1:
            raise DeadLetter("broken")

    events = await stage.idle(module)
    await publish(events, orders(2))
    await events.drain_once()
    assert [number for name, number in seen if name == "late"] == [1, 1, 2]
    assert [number for name, number in seen if name == "at once"] == [1, 2]
    await publish(events, [Placed(order="a", number=3)])
    await events.drain_once()
    assert sorted(seen[-2:]) == [("at once", 3), ("late", 3)]


async def test_unordered_handlers_hold_nobody(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(3600)), ordered=False)
    async def handle(event: Placed, delivery: Delivery) -> None:
        seen.append(event.number)
        if event.number == 1 and delivery.attempt == 1:
            raise ValueError("not yet")

    events = await stage.idle(module)
    await publish(events, orders(3))
    await events.drain_once()
    assert sorted(seen) == [1, 2, 3]
    assert len(await stage.deliveries()) == 1


async def test_events_without_a_key_hold_nobody(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Pinged, retry=Retry(1))
    async def handle(event: Pinged) -> None:
        seen.append(event.number)
        if event.number == 1:
            raise ValueError("broken")

    events = await stage.idle(module, partitions=1)
    await publish(events, [Pinged(number=number) for number in range(5)])
    await events.drain_once()
    assert sorted(seen) == [0, 1, 2, 3, 4]


async def test_the_key_is_scoped_by_tenant(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, delivery: Delivery) -> None:
        if delivery.tenant_id == "one":
            raise ValueError("broken")
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, orders(1), tenant_id="one")
    await publish(events, orders(1), tenant_id="two")
    await events.drain_once()
    assert seen == [1]


async def test_a_postponed_event_holds_its_key(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, delivery: Delivery) -> None:
        seen.append(event.number)
        if event.number == 1 and not delivery.redelivered:
            raise RetryLater(3600)

    events = await stage.idle(module)
    await publish(events, orders(2))
    await events.drain_once()
    assert seen == [1]


async def test_a_long_queue_is_worked_off_in_order_though_it_is_read_in_parts(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        seen.append(event.number)
        if seen == [1]:
            raise ValueError("broken")

    events = await stage.idle(module, batch_size=7)
    await publish(events, orders(75))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    await events.operations.redrive([dead["id"]], actor="me")
    await events.drain_once()
    assert seen == [1, *range(1, 76)]


async def test_small_batches_keep_order_and_miss_nothing(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        await asyncio.sleep(0)
        seen.append((event.order, event.number))

    events = await stage.idle(module, batch_size=3, concurrency={"events_change": 5})
    for number in range(40):
        await publish(events, [Placed(order=str(order), number=number) for order in range(5)])
    await events.drain_once()
    assert len(seen) == 200
    for order in range(5):
        assert [number for name, number in seen if name == str(order)] == list(range(40))


async def test_two_workers_share_partitions_and_keep_every_key_in_order(stage: Stage) -> None:
    seen: list[tuple[str, str, int]] = []

    def shop(worker: str) -> Module:
        module = Module("shop")

        @module.on(Placed, retry=Retry(4, fixed(0)))
        async def handle(event: Placed, delivery: Delivery) -> None:
            if event.number % 7 == 3 and delivery.attempt == 1:
                raise ValueError("not yet")
            await asyncio.sleep(0.0005)
            seen.append((worker, event.order, event.number))

        return module

    publisher = await stage.idle()
    workers = [await stage.running(shop(name), batch_size=10) for name in ("one", "two")]
    for number in range(30):
        await publish(publisher, [Placed(order=str(order), number=number) for order in range(20)])
    await until(lambda: len(seen) >= 600, "600 events")
    assert {worker for worker, _, _ in seen} == {"one", "two"}
    for order in range(20):
        assert [number for _, name, number in seen if name == order or name == str(order)] == list(range(30))
    await within(asyncio.gather(*(worker.stop() for worker in workers)))
    assert len(seen) == 600


@pytest.mark.parametrize("kept", [True, False], ids=["parked before", "parked meanwhile"])
async def test_a_follower_read_before_its_head_failed_is_parked_by_memory(stage: Stage, kept: bool) -> None:
    """The next batch is read while this one is handled: the key is not parked in the database then."""
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(3600)))
    async def handle(event: Placed) -> None:
        seen.append(event.number)
        if event.number == (1 if kept else 4):
            raise ValueError("not yet")

    events = await stage.idle(module, batch_size=2)
    await publish(events, orders(9))
    await events.drain_once()
    assert seen == ([1] if kept else [1, 2, 3, 4])
