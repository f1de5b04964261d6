"""A replay beside what is live: neither waits for the other, and together they deliver everything once."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Delivery, EventPublisher, HandlerSession, Module, Retry
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, until, within
from tests.replays.test_replaying import DUTY, settled


async def test_a_failing_replay_parks_its_own_key_and_no_live_one(stage: Stage) -> None:
    seen: list[tuple[int, bool]] = []
    broken = True
    module = Module("shop")

    @module.on(Placed, id="shop.fragile", retry=Retry(max_attempts=2))
    async def fragile(event: Placed, delivery: Delivery) -> None:
        seen.append((event.number, delivery.replay_id is not None))
        if delivery.replay_id is not None and event.number == 1 and broken:
            raise RuntimeError("this event fails when it is replayed")

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=n) for n in range(4)])
    await events.drain_once()
    seen.clear()
    replay = await events.operations.replays.start("shop.fragile", actor=DUTY)
    assert await settled(events, replay.id) == "done"
    await stage.make_due()
    await events.drain_once()
    assert seen == [(0, True), (1, True), (1, True)]
    await publish(events, [Placed(order="o", number=9)])
    await events.drain_once()
    assert seen[3:] == [(9, False)], "the live key waited for the replay's dead letter"
    view = await events.operations.replays.get(replay.id)
    assert (view.done, view.failed, view.waiting, view.dead) == (1, 3, 2, 1)
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.replay_id, dead.behind) == (replay.id, 2)
    broken = False
    await events.operations.redrive([dead.id], actor=DUTY)
    await events.drain_once()
    assert seen[4:] == [(1, True), (2, True), (3, True)]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


async def test_a_live_key_that_is_parked_holds_up_no_replay(stage: Stage) -> None:
    seen: list[int] = []
    module = Module("shop")

    @module.on(Placed, id="shop.fragile", retry=Retry(max_attempts=1))
    async def fragile(event: Placed, delivery: Delivery) -> None:
        if event.number == 1 and delivery.replay_id is None:
            raise RuntimeError("it fails live")
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=n) for n in range(4)])
    await events.drain_once()
    assert seen == [0]
    before = await stage.rows("SELECT * FROM events.parked_key")
    replay = await events.operations.replays.start("shop.fragile", actor=DUTY)
    assert await settled(events, replay.id) == "done"
    assert seen == [0, 0, 1, 2, 3]
    assert await stage.rows("SELECT * FROM events.parked_key") == before
    assert [row["reason"] for row in await stage.deliveries("waiting")] == ["key_blocked", "key_blocked"]


async def test_what_commits_late_or_is_not_read_yet_is_delivered_live_and_not_replayed(stage: Stage) -> None:
    seen: list[tuple[int, bool]] = []
    module = Module("shop")

    @module.on(Placed, id="shop.all")
    async def every(event: Placed, delivery: Delivery) -> None:
        seen.append((event.number, delivery.replay_id is not None))

    events = await stage.idle(module)
    await publish(events, [Placed(order=f"o{n}", number=n) for n in range(3)])
    await events.drain_once()
    async with events.session() as late:
        publisher = events.publisher(late)
        await publisher(Placed(order="o0", number=10))
        await late.flush()
        await publish(events, [Placed(order="o1", number=11)])
        await events.drain_once()  # number 11 has a higher position than number 10, which is still open
        await publish(events, [Placed(order="o2", number=12)])
        replay = await events.operations.replays.start("shop.all", actor=DUTY)
        assert replay.total == 4
        await late.commit()
    seen.clear()
    assert await settled(events, replay.id) == "done"
    assert sorted(seen) == [(0, True), (1, True), (2, True), (10, False), (11, True), (12, False)]


async def test_a_new_handler_is_given_by_a_replay_exactly_what_it_is_not_given_live(stage: Stage) -> None:
    seen: list[tuple[int, bool]] = []
    old, new = Module("shop"), Module("shop")

    async def every(event: Placed, delivery: Delivery) -> None:
        seen.append((event.number, delivery.replay_id is not None))

    old.on(Placed, id="shop.old")(every)
    new.on(Placed, id="shop.new")(every)
    first = await stage.idle(old)
    await publish(first, [Placed(order=f"o{n}", number=n) for n in range(5)])  # nobody has read them
    second = await stage.idle(old, new)
    await publish(second, [Placed(order="o", number=5)])
    replay = await second.operations.replays.start("shop.new", actor=DUTY)
    assert replay.total == 5
    assert await settled(second, replay.id) == "done"
    assert sorted(seen) == sorted([*((n, False) for n in range(6)), (5, False), *((n, True) for n in range(5))])


async def test_a_cancelled_replay_begins_no_further_event(stage: Stage) -> None:
    began: list[int] = []
    entered, go_on = asyncio.Event(), asyncio.Event()
    module = Module("shop")

    @module.on(Placed, id="shop.slow")
    async def slow(event: Placed, delivery: Delivery) -> None:
        if delivery.replay_id is not None:
            began.append(event.number)
            entered.set()
            await go_on.wait()

    events = await stage.running(module, concurrency={"events_replay": 1})
    await publish(events, [Placed(order="o", number=n) for n in range(10)])
    await until(lambda: _read(stage, 10))
    replays = events.operations.replays
    replay = await replays.start("shop.slow", actor=DUTY)
    await within(entered.wait())
    assert await replays.cancel(replay.id, actor=DUTY, reason="enough")
    assert not await replays.cancel(replay.id, actor=DUTY)
    runtime: Any = events.runtime
    await until(lambda: runtime.replays._flag.is_set() or not runtime.replays._known)
    go_on.set()
    await until(lambda: not runtime.replays._held)
    await until(lambda: not runtime.replays._known)
    assert began == [0]
    view = await replays.get(replay.id)
    assert (view.state, view.done) == ("cancelled", 1)
    actions = [(action.action, action.target) for action in await events.operations.actions()]
    assert actions[-1] == ("start_replay", "shop.slow")


async def test_a_pause_outlives_the_process_and_a_resumed_replay_goes_on_where_it_was(stage: Stage) -> None:
    seen: list[int] = []
    module = Module("shop")

    @module.on(Placed, id="shop.steady")
    async def steady(event: Placed, delivery: Delivery) -> None:
        if delivery.replay_id is not None:
            seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=n) for n in range(6)])
    await events.drain_once()
    replay = await events.operations.replays.start("shop.steady", actor=DUTY, from_position=0)
    assert await events.operations.replays.pause(replay.id, actor=DUTY)
    assert await settled(events, replay.id) == "paused"
    await events.stop()
    again = await stage.running(module)
    assert await again.operations.replays.resume(replay.id, actor=DUTY)
    await until(lambda: _state(again, replay.id, "done"))
    assert seen == list(range(6))


async def test_a_rate_holds_by_the_databases_clock(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, id="shop.paced")
    async def paced(event: Placed) -> None: ...

    events = await stage.running(module)
    await publish(events, [Placed(order="o", number=n) for n in range(150)])
    await until(lambda: _read(stage, 150))
    preview = await events.operations.replays.preview("shop.paced", rate=100)
    assert preview.seconds == pytest.approx(1.5)
    replay = await events.operations.replays.start("shop.paced", rate=100, actor=DUTY)
    await until(lambda: _state(events, replay.id, "done"))
    view = await events.operations.replays.get(replay.id)
    assert view.finished_at is not None
    took = (view.finished_at - view.created_at).total_seconds()
    # What is taken at once, and what may be made up for, are a quarter of a second each.
    assert took >= 1.5 - 0.5


async def test_what_a_handler_publishes_in_a_replay_is_new_and_there_once(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, id="shop.ship")
    async def ship(event: Placed, publish: EventPublisher, session: HandlerSession) -> None:
        await publish(Shipped(order=event.order, number=event.number))
        await effect(session, "ship", event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=1)])
    await events.drain_once()
    replay = await events.operations.replays.start("shop.ship", actor=DUTY, expected=1)
    await settled(events, replay.id)
    rows = await stage.rows("SELECT id, causation_id FROM events.event WHERE name = 'shop.order.shipped'")
    assert len({row["id"] for row in rows}) == 2
    assert len({row["causation_id"] for row in rows}) == 1


async def test_erased_events_are_skipped_and_counted(stage: Stage) -> None:
    seen: list[int] = []
    module = Module("shop")

    @module.on(Placed, id="shop.kept")
    async def kept(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="gone", number=1), Placed(order="kept", number=2)])
    await events.drain_once()
    await events.operations.erase("order", "gone", actor=DUTY, reason="request 1")
    replay = await events.operations.replays.start("shop.kept", actor=DUTY)
    await settled(events, replay.id)
    view = await events.operations.replays.get(replay.id)
    assert (view.done, view.skipped, view.failed, sorted(seen)) == (1, 1, 0, [1, 2, 2])


async def test_two_processes_share_a_replay_and_keep_its_order(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []

    def module() -> Module:
        made = Module("shop")

        @made.on(Placed, id="shop.shared")
        async def shared(event: Placed, delivery: Delivery) -> None:
            if delivery.replay_id is not None:
                seen.append((event.order, event.number))
                await asyncio.sleep(0)

        return made

    one = await stage.running(module())
    await publish(one, [Placed(order=f"o{n % 20}", number=n) for n in range(400)])
    await until(lambda: _read(stage, 400))
    two = await stage.running(module())
    replay = await one.operations.replays.start("shop.shared", actor=DUTY)
    await until(lambda: _state(two, replay.id, "done"))
    assert len(seen) == 400
    for key in {order for order, _ in seen}:
        numbers = [number for order, number in seen if order == key]
        assert numbers == sorted(numbers)


async def _read(stage: Stage, count: int) -> bool:
    read = await stage.value("SELECT sum(cardinality(positions)) FROM events.success_batch")
    return bool(read is not None and read >= count)


async def _state(events: Any, replay: Any, state: str) -> bool:
    return bool((await events.operations.replays.get(replay)).state == state)
