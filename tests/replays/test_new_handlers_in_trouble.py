"""What may befall a handler that is new while it is given history: nothing of it opens the gate early, or never."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Breaker, Delivery, Event, EventPublisher, Events, Module, Retry, fixed
from fastapi_events.engine.runtime import Runtime
from fastapi_events.errors import OperationRefused
from fastapi_events.model.start import Start
from fastapi_events.store.group import HandlerRow
from tests.delivery.rollout import Paid1, Paid2, paid2, to_numbers
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, publish, until, within
from tests.delivery.test_refused_settlements import refuse_children, triggers
from tests.replays.test_new_handlers import DUTY, history, late, replay_of
from tests.replays.test_replaying import settled

__all__ = ["triggers"]
PROBE_NOW = "UPDATE events.breaker SET probe_at = clock_timestamp() - interval '1 s' WHERE opened_at IS NOT NULL"


async def registered_only(runtime: Runtime, group_id: int) -> None:
    """What a process has done that dies between registering the handler and starting it."""
    row = HandlerRow("late.note", "shop.order.placed", True, "park", (), Start())
    await runtime.store._register_handlers(group_id, {row.name: row})


async def test_the_end_of_a_history_waits_for_no_other_replay(stage: Stage) -> None:
    seen: list[int] = []
    entered, go_on = asyncio.Event(), asyncio.Event()
    slow = Module("slow")

    @slow.on(Placed, start="beginning")
    async def hang(event: Placed) -> None:
        entered.set()
        await go_on.wait()

    old = await history(stage, range(3))
    new = await stage.running(late(seen, "beginning"), slow)
    await within(entered.wait())
    await publish(old, [Placed(order="0", number=3)])
    try:
        await until(lambda: len(seen) == 4, "what is live of the handler whose history is over")
        assert seen[-1] == 3
        assert list(new.runtime.gates.closed.values()) == ["catching_up"]
    finally:
        go_on.set()


async def test_a_replay_is_worked_on_while_the_handler_of_another_is_busy(stage: Stage) -> None:
    replayed: list[int] = []
    entered, go_on = asyncio.Event(), asyncio.Event()
    module = Module("shop")

    @module.on(Placed, id="shop.slow")
    async def slow(event: Placed, delivery: Delivery) -> None:
        if delivery.replay_id is not None:
            entered.set()
            await go_on.wait()

    @module.on(Placed, id="shop.quick")
    async def quick(event: Placed, delivery: Delivery) -> None:
        if delivery.replay_id is not None:
            replayed.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=n) for n in range(3)])
    await events.drain_once()
    running = await stage.running(module)
    await running.operations.replays.start("shop.slow", actor=DUTY)
    await within(entered.wait())
    replay = await running.operations.replays.start("shop.quick", actor=DUTY)
    try:
        await until(lambda: stage.value("SELECT state = 'done' FROM events.replay WHERE id = $1", replay.id))
        assert replayed == [0, 1, 2]
    finally:
        go_on.set()


async def test_a_history_of_which_nothing_is_selected_is_over_with_one_drain(stage: Stage) -> None:
    old = await stage.idle(Module("old"))
    await publish(old, [Pinged(number=n) for n in range(5)])
    new = await stage.idle(late([], "beginning"), group="new")
    assert await new.drain_once() == 0
    assert (await replay_of(new)).state == "done"
    assert new.runtime.gates.closed == {}


async def test_an_open_breaker_holds_up_no_history_that_live_waits_for(stage: Stage) -> None:
    """It had opened while the handler was not ordered yet; its probe would be of what waits for the history."""
    seen: list[int] = []
    trouble = [True]

    def release(*, ordered: bool) -> Module:
        module = Module("late")

        @module.on(Placed, start="beginning", ordered=ordered, breaker=Breaker(2, recovery=3600))
        async def note(event: Placed, delivery: Delivery) -> None:
            if trouble and delivery.replay_id is None:
                raise ValueError("down")
            seen.append(event.number)

        return module

    old = await history(stage, range(3), keys=1)
    first = await stage.idle(release(ordered=False))
    replay = await replay_of(first)
    await first.operations.replays.pause(replay.id, actor=DUTY)
    await publish(old, [Placed(order="0", number=n) for n in (3, 4)])
    await first.drain_once()
    assert await stage.value("SELECT opened_at IS NOT NULL FROM events.breaker")
    await first.stop()
    second = await stage.idle(release(ordered=True))
    await second.operations.replays.resume(replay.id, actor=DUTY)
    await publish(old, [Placed(order="0", number=5)])
    await second.drain_once()
    assert seen == [0, 1, 2]
    assert (await replay_of(second)).state == "done"
    assert set(second.runtime.gates.closed.values()) == {"breaker_open"}
    trouble.clear()
    await stage.rows(PROBE_NOW)
    await second.drain_once()
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]


async def test_no_history_begins_in_a_group_that_is_removed_while_a_process_starts(stage: Stage) -> None:
    old = await history(stage, range(3))
    gone = await stage.idle(Module("old"), group="billing")
    group_id = gone.runtime.group_id
    await gone.stop()
    await registered_only(old.runtime, group_id)
    await old.operations.remove_group("billing", actor=DUTY, reason="moved")
    await old.runtime.store.handlers(group_id)
    assert await stage.value("SELECT count(*) FROM events.replay") == 0
    await old.runtime.store._register_handlers(
        group_id, {"late.second": HandlerRow("late.second", "shop.order.placed", True, "park", (), Start())}
    )
    await old.runtime.store.handlers(group_id)
    assert await stage.value("SELECT count(*) FROM events.replay") == 0


async def test_one_that_was_retired_before_it_started_starts_when_it_comes_back(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(3))
    await registered_only(old.runtime, old.runtime.group_id)
    async with old.connect() as operators:
        await operators.handlers.retire("late.note", actor=DUTY)
    await old.runtime.refresh_plan()
    assert await stage.value("SELECT count(*) FROM events.replay") == 0
    await publish(old, [Placed(order="0", number=3)])
    new = await stage.idle(late(seen, "beginning"))
    await new.drain_once()
    assert sorted(seen) == [0, 1, 2, 3]


async def test_nobody_replays_to_a_handler_that_has_not_started(stage: Stage) -> None:
    """It would stand in the way of the replay that the handler begins with, and of every process that starts."""
    seen: list[int] = []
    old = await history(stage, range(3))
    await registered_only(old.runtime, old.runtime.group_id)
    with pytest.raises(OperationRefused, match=r"'late.note' .* has not started"):
        await old.operations.replays.start("late.note", actor=DUTY)
    new = await stage.idle(late(seen, "beginning"))
    await new.drain_once()
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.usefixtures("triggers")
async def test_what_the_database_refuses_of_history_is_dead_there_and_live_goes_on(stage: Stage) -> None:
    seen: list[int] = []
    tried: list[int] = []
    module = Module("late")

    @module.on(Placed, start="beginning", retry=Retry(5, fixed(0)))
    async def note(event: Placed, publish: EventPublisher) -> None:
        if event.number == 0:
            tried.append(0)
            if len(tried) == 1:
                raise ValueError("later")
            await publish(Shipped(order="poison", number=0))
        seen.append(event.number)

    await refuse_children(stage)
    old = await history(stage, range(2), keys=1)
    new = await stage.idle(module)
    await publish(old, [Placed(order="0", number=2)])
    await new.drain_once()
    [dead] = await stage.deliveries("dead")
    assert (dead["replay_id"], dead["reason"]) == ((await replay_of(new)).id, "unsettleable")
    assert seen[-1] == 2
    [behind] = await stage.deliveries("waiting")
    assert behind["replay_id"] == dead["replay_id"]
    await stage.rows("DROP TRIGGER refuse ON events.event")
    await new.operations.redrive([dead["id"]], actor=DUTY)
    await new.drain_once()
    assert seen[-2:] == [0, 1]


async def test_a_process_of_the_release_before_leaves_a_replays_delivery_and_no_live_one(stage: Stage) -> None:
    told: list[bool] = []
    newer, older = Module("shop"), Module("shop")
    newer.upcast(Paid2, from_version=1)(to_numbers)

    @newer.on(Paid2, id="shop.charge", retry=Retry(2, fixed(0)))
    async def charge(event: Paid2, delivery: Delivery) -> None:
        told.append(delivery.replay_id is not None)
        if len(told) <= 3:
            raise ValueError("twice live, and once in the replay")

    @older.on(Paid1, id="shop.charge")
    async def charge_once(event: Paid1) -> None: ...

    new = await stage.idle(newer)
    await publish(new, [paid2(1)])
    await new.drain_once()
    replay = await new.operations.replays.start("shop.charge", actor=DUTY)
    assert new.runtime.replays is not None
    await new.runtime.replays.drain()
    old = await stage.idle(older)
    await old.drain_once()
    assert {row["replay_id"] == replay.id: row["state"] for row in await stage.deliveries()} == {
        False: "dead", True: "waiting",
    }  # fmt: skip
    assert [row["reason"] for row in await stage.deliveries("waiting")] == ["no_handler"]
    assert await settled(new, replay.id) == "done"
    assert told == [False, False, True, True]


async def test_what_is_redriven_in_history_comes_before_what_is_live(stage: Stage) -> None:
    seen: list[int] = []
    broken = {0: True, 1: True}
    module = Module("late")

    @module.on(Placed, start="beginning", retry=Retry(2, fixed(3600)))
    async def note(event: Placed) -> None:
        if broken.get(event.number):
            raise ValueError("not yet")
        seen.append(event.number)

    old = await history(stage, range(4), keys=2)
    new = await stage.idle(module)
    await publish(old, [Placed(order=str(n % 2), number=n) for n in (4, 5)])
    await new.drain_once()
    await stage.rows("UPDATE events.parked_key SET due_at = clock_timestamp() WHERE slot LIKE '~%/0'")
    await new.drain_once()
    assert seen == []
    [dead] = await stage.deliveries("dead")
    broken.clear()
    await new.operations.redrive([dead["id"]], actor=DUTY)
    await new.drain_once()
    assert seen == [0, 2]
    await stage.make_due()
    await new.drain_once()
    assert sorted(seen) == list(range(6))
    for key in range(2):
        assert [n for n in seen if n % 2 == key] == [key, key + 2, key + 4]


async def test_a_rename_while_it_catches_up_keeps_history_and_gate(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(3), keys=1)
    before = await stage.idle(late(seen, "beginning"))
    after = await stage.idle(late(seen, "beginning", id="late.renamed", was=("late.note",)))
    await publish(old, [Placed(order="0", number=3)])
    for events in (before, after):
        assert list(events.runtime.gates.closed.values()) == ["catching_up"]
    assert await stage.value("SELECT count(*) FROM events.replay") == 1
    await before.drain_once()
    await after.drain_once()
    assert seen == [0, 1, 2, 3]


async def test_releases_that_differ_in_it_agree_on_the_first(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(3))
    several = [stage.make(late(seen, start)) for start in ("beginning", "now", 2, "beginning")]
    await within(asyncio.gather(*(events.start(drains=False) for events in several)))
    await publish(old, [Placed(order="0", number=3)])
    for events in several:
        await events.drain_once()
    first = await stage.value("SELECT start_position FROM events.handler WHERE name = 'late.note'")
    assert await stage.value("SELECT count(*) FROM events.replay") == (0 if first is None else 1)
    given = await stage.rows(
        "SELECT payload ->> 'number' AS number FROM events.event WHERE position >= $1 "
        "OR payload ->> 'number' = '3'", first,
    )  # fmt: skip
    assert sorted(seen) == sorted(int(row["number"]) for row in given)


async def test_a_batch_handlers_live_lists_come_after_its_history(stage: Stage) -> None:
    lists: list[list[int]] = []
    module = Module("late")

    @module.on(Placed, start="beginning", batch=10)
    async def note(events: list[Placed]) -> None:
        lists.append([event.number for event in events])

    old = await history(stage, range(3), keys=1)
    new = await stage.idle(module)
    await publish(old, [Placed(order="0", number=n) for n in (3, 4)])
    await new.drain_once()
    assert [number for numbers in lists for number in numbers] == [0, 1, 2, 3, 4]
    lists.clear()
    await publish(old, [Placed(order="0", number=n) for n in (5, 6)])
    await new.drain_once()
    assert lists == [[5, 6]]


async def test_audit_events_are_no_history_of_a_wildcard(stage: Stage) -> None:
    class Looked(Event, name="shop.order.looked", tier="audit"):
        number: int

    seen: list[str] = []
    module = Module("late")

    @module.on("*", start="beginning")
    async def note(event: Any) -> None:
        seen.append(event.name)

    old = await history(stage, range(1))
    await publish(old, [Looked(number=1)])
    new = await stage.idle(module)
    await new.drain_once()
    assert seen == ["shop.order.placed"]


async def test_one_that_is_ordered_no_more_lets_live_go_at_once(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(3), keys=1)
    first: Events = await stage.idle(late(seen, "beginning"))
    replay = await replay_of(first)
    await first.operations.replays.pause(replay.id, actor=DUTY)
    await publish(old, [Placed(order="0", number=3)])
    await first.drain_once()
    assert seen == []
    await first.stop()
    second = await stage.idle(late(seen, "beginning", ordered=False))
    await second.drain_once()
    assert seen == [3]
    await second.operations.replays.resume(replay.id, actor=DUTY)
    await second.drain_once()
    assert seen == [3, 0, 1, 2]


async def test_one_retired_while_it_catches_up_goes_on_with_its_history_when_it_comes_back(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(3), keys=1)
    first = await stage.idle(late(seen, "beginning"))
    await first.stop()
    async with old.connect() as operators:
        await operators.handlers.retire("late.note", actor=DUTY)
    await publish(old, [Placed(order="0", number=3)])
    await old.drain_once()
    again = await stage.idle(late(seen, "beginning"))
    await publish(old, [Placed(order="0", number=4)])
    await again.drain_once()
    assert seen == [0, 1, 2, 4]


async def test_one_cancelled_during_a_long_call_begins_no_further_event_of_its_history(stage: Stage) -> None:
    """Its process has looked what goes on since, so nothing but the replay's end can stop the chunk in hand."""
    told: list[tuple[int, bool]] = []
    entered, go_on = asyncio.Event(), asyncio.Event()
    module = Module("late")

    @module.on(Placed, start="beginning")
    async def note(event: Placed, delivery: Delivery) -> None:
        told.append((event.number, delivery.replay_id is not None))
        entered.set()
        await go_on.wait()

    old = await history(stage, range(3), keys=1)
    new = await stage.running(module)
    await within(entered.wait())
    await new.operations.replays.cancel((await replay_of(new)).id, actor=DUTY)
    replays: Any = new.runtime.replays
    await until(lambda: not replays._known and not replays._flag.is_set(), "the process to look what goes on")
    go_on.set()
    await publish(old, [Placed(order="0", number=3)])
    await until(lambda: (3, False) in told)
    assert told == [(0, True), (3, False)]
