"""One event for several handlers: each has its own attempts, its own dead letter, its own group."""

from uuid import uuid4

from fastapi_events import Delivery, Event, Module, RawEvent, Retry, fixed
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, publish


async def test_every_handler_of_an_event_gets_it_once_whatever_becomes_of_the_others(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def good(event: Placed) -> None:
        seen.append(("good", event.number))

    @module.on(Placed, retry=Retry(3, fixed(0)))
    async def flaky(event: Placed, delivery: Delivery) -> None:
        seen.append(("flaky", event.number, delivery.attempt))
        if delivery.attempt < 3:
            raise ValueError("not yet")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def broken(event: Placed, delivery: Delivery) -> None:
        seen.append(("broken", event.number, delivery.attempt))
        raise ValueError("never")

    events = await stage.idle(module)
    await events.publish(Placed(order="a", number=1))
    await events.drain_once()
    assert sorted(seen) == [
        ("broken", 1, 1), ("broken", 1, 2), ("flaky", 1, 1), ("flaky", 1, 2), ("flaky", 1, 3), ("good", 1),
    ]  # fmt: skip
    assert [(row["handler"], row["state"], row["attempts"]) for row in await stage.deliveries()] == [
        ("shop.broken", "dead", 2),
        ("shop.flaky", "done", 3),
    ]


async def test_redrive_runs_the_handler_that_failed_and_no_other(stage: Stage) -> None:
    module, seen, mended = Module("shop"), [], []

    @module.on(Placed)
    async def good(event: Placed) -> None:
        seen.append("good")

    @module.on(Placed, retry=Retry(1))
    async def broken(event: Placed, delivery: Delivery) -> None:
        seen.append(f"broken {delivery.attempt}")
        if not mended:
            raise ValueError("broken")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    mended.append(True)
    changed = await events.operations.redrive([dead["id"]], actor="me")
    assert (changed.asked, changed.changed) == (1, 1)
    assert (await events.operations.redrive([dead["id"], uuid4()], actor="me")).changed == 0
    await events.drain_once()
    assert sorted(seen) == ["broken 1", "broken 1", "good"]  # a fresh budget of attempts
    [row] = await stage.deliveries()
    assert (row["state"], row["attempts"], row["redrives"]) == ("done", 2, 1)


async def test_each_group_handles_every_event_for_its_own_handlers_only(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []

    def shop(name: str) -> Module:
        module = Module("shop")

        @module.on(Placed)
        async def handle(event: Placed) -> None:
            seen.append((name, event.number))

        return module

    first, second = await stage.idle(shop("a"), group="a"), await stage.idle(shop("b"), group="b")
    await publish(first, [Placed(order=str(number), number=number) for number in range(20)])
    await first.drain_once()
    assert seen == [("a", number) for number in range(20)] or len(seen) == 20
    await second.drain_once()
    await first.drain_once()
    assert sorted(seen) == [(name, number) for name in "ab" for number in range(20)]


async def test_wildcards_take_names_part_by_part_and_unknown_events_as_raw_ones(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on("shop.order.*")
    async def orders(event: Event | RawEvent) -> None:
        seen.append(("orders", type(event).__name__))

    @module.on("shop.*")
    async def everything(event: Event | RawEvent) -> None:
        seen.append(("everything", type(event).__name__))

    @module.on(Placed)
    async def placed(event: Placed) -> None:
        seen.append(("placed", type(event).__name__))

    events = await stage.idle(module)
    await publish(events, [Placed(order="a")])
    async with events.session() as session:
        await events.publisher(session).raw("shop.order.lost", {"a": [1]}, aggregate_id="a")
        await events.publisher(session).raw("other.order.lost", {})
        await session.commit()
    await events.drain_once()
    assert sorted(seen) == [
        ("everything", "Placed"), ("everything", "RawEvent"), ("orders", "Placed"), ("orders", "RawEvent"),
        ("placed", "Placed"),
    ]  # fmt: skip


async def test_success_is_one_row_per_batch_or_one_mark_each_or_nothing(stage: Stage) -> None:
    for level, batches, marks in (("batch", 1, 0), ("each", 0, 5), ("none", 0, 0)):
        module = Module("shop")

        @module.on(Pinged)
        async def handle(event: Pinged) -> None: ...

        events = await stage.idle(module, group=level, record_success=level)
        await publish(events, [Pinged(number=number) for number in range(5)])
        await events.drain_once()
        assert await stage.value("SELECT count(*) FROM events.success_batch") == batches
        assert (
            await stage.value("SELECT coalesce(sum(cardinality(positions)), 0) FROM events.success_batch")
            == 5 * batches
        )
        assert await stage.value("SELECT count(*) FROM events.processing_mark") == marks
        await stage.rows("DELETE FROM events.success_batch")
        await stage.rows("DELETE FROM events.processing_mark")


async def test_an_event_without_handlers_is_kept_and_holds_nobody_up(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Shipped(order="a"), Placed(order="a", number=1), Shipped(order="a")])
    await events.drain_once()
    assert seen == [1]
    assert await stage.deliveries() == []
    assert await stage.value("SELECT count(*) FROM events.event") == 3
