"""A group that reads no more keeps the log from shrinking, is named, and can be removed."""

import asyncio
import math

import pytest

from fastapi_events.engine.registering import register_worker
from fastapi_events.errors import NotStarted, OperationRefused
from fastapi_events.store.replays import Order
from tests.delivery.stage import Placed, Stage, collecting, publish, until
from tests.retention.aging import age, count


async def abandoned(stage: Stage) -> None:
    """A group that has stopped for good, with a waiting and a dead delivery, and thirty unread events."""
    from fastapi_events import DeadLetter, Module

    module = Module("shop")

    @module.on(Placed, id="old.reserve")
    async def reserve(event: Placed) -> None:
        raise DeadLetter("no stock")

    gone = await stage.idle(module, group="billing")
    await publish(gone, [Placed(order="a", number=1), Placed(order="a", number=2)])
    await gone.drain_once()
    assert [row["state"] for row in await stage.deliveries()] == ["dead", "waiting"]
    await publish(gone, [Placed(order=str(number), number=number) for number in range(30)])
    await gone.stop()
    stage.instances.remove(gone)


async def test_it_is_a_concern_and_can_be_removed(stage: Stage) -> None:
    await abandoned(stage)
    events = await stage.idle(collecting([]))
    assert not [c for c in (await events.observe.overview()).concerns if "shrink" in c.what]
    await age(stage, 31)
    first = await stage.value("SELECT min(position) FROM events.event")
    log = await events.observe.log()
    assert log.first_position == first
    assert [(kept.group, kept.position) for kept in log.kept_for] == [("billing", first + 2)]
    [concern] = [c for c in (await events.observe.overview()).concerns if "shrink" in c.what]
    assert concern.what == "The log cannot shrink: billing has not read it for 31 days"

    pruned = await events.runtime.pruner.prune(math.inf)
    assert pruned.rows == {"event": 2}
    await events.operations.remove_group("billing", actor="ana", reason="the service is no more")
    pruned = await events.runtime.pruner.prune(math.inf)
    assert pruned.rows["event"] == 30
    assert pruned.kept_for == ()
    assert {row["state"] for row in await stage.deliveries()} == {"discarded"}
    assert await count(stage, "parked_key") == 0
    log = await events.observe.log()
    assert (log.first_position, log.kept_for) == (None, ())
    [action] = await events.operations.actions()
    assert (action.action, action.actor, action.target) == ("remove_group", "ana", "billing")
    assert action.details["reason"] == "the service is no more"


async def test_a_paused_group_is_named_as_such_and_can_be_removed(stage: Stage) -> None:
    """With what pausing, breakers and releases of different age have left of it."""
    await abandoned(stage)
    events = await stage.idle(collecting([]))
    await stage.rows("UPDATE events.consumer_group SET paused_lanes = '{0,1,2}' WHERE name = 'billing'")
    await stage.rows("INSERT INTO events.breaker (handler_id, opened_at) SELECT id, now() FROM events.handler LIMIT 1")
    await stage.rows("UPDATE events.parked_key SET needs = 2")
    await age(stage, 31)
    [kept] = (await events.observe.log()).kept_for
    assert (kept.group, kept.paused) == ("billing", True)
    [concern] = [c for c in (await events.observe.overview()).concerns if "shrink" in c.what]
    assert concern.why.endswith("It is paused: resume it, or remove the group.")
    await events.operations.remove_group("billing", actor="ana", reason="the service is no more")
    assert (await events.runtime.pruner.prune(math.inf)).kept_for == ()
    assert await count(stage, "parked_key") == 0
    seen: list[int] = []
    again = await stage.idle(collecting(seen), group="billing")
    await publish(again, [Placed(order="a", number=7)])
    await again.drain_once()
    assert seen == [7]
    groups = {group.name: group for group in await events.observe.groups()}
    [removed] = [group for name, group in groups.items() if name.startswith("billing (removed")]
    assert (removed.removed_at is None, removed.paused_lanes) == (False, ("inbound", "change", "outbound"))
    assert (groups["billing"].processes, groups["billing"].paused_lanes) == (1, ())


async def test_its_replays_end_with_it(stage: Stage) -> None:
    """Nobody could find them by the group's name any more, and they would keep the log."""
    await abandoned(stage)
    alone = await stage.idle(collecting([]), group="billing")
    await alone.drain_once()
    replay = await alone.operations.replays.start("shop.placed", actor="ben", reason="again")
    await alone.operations.replays.pause(replay.id, actor="ben")
    await alone.stop()
    stage.instances.remove(alone)
    events = await stage.idle(collecting([]))
    await age(stage, 31)
    [kept] = (await events.observe.log()).kept_for_replays
    assert (kept.replay_id, kept.handler, kept.group, kept.state) == (replay.id, "shop.placed", "billing", "paused")
    pruned = await events.runtime.pruner.prune(math.inf)
    assert (pruned.rows.get("event"), [kept.id for kept in pruned.kept_for_replays]) == (None, [replay.id])

    await events.operations.remove_group("billing", actor="ana", reason="the service is no more")
    [row] = await stage.rows("SELECT state, note, finished_at FROM events.replay")
    assert (row["state"], row["note"], row["finished_at"] is None) == ("cancelled", "its group was removed", False)
    assert (await events.observe.log()).kept_for_replays == ()
    pruned = await events.runtime.pruner.prune(math.inf)
    assert (pruned.rows["event"], pruned.kept_for_replays) == (32, ())
    removed, cancelled = (await events.operations.actions())[:2]
    assert (removed.action, removed.details["replays"]) == ("remove_group", [str(replay.id)])
    assert (cancelled.action, cancelled.actor, cancelled.target) == ("cancel_replay", "ana", "shop.placed")
    assert cancelled.details["replay"] == str(replay.id)


async def test_no_replay_begins_in_a_group_that_is_being_removed(stage: Stage) -> None:
    gone = await stage.idle(collecting([]), group="billing")
    await publish(gone, [Placed(order="a", number=1)])
    await gone.drain_once()
    replays = gone.operations.replays
    bounds, selection = await replays._selected("start", "shop.placed", {})
    found = await replays._store.count(bounds, selection, 10)
    await stage.rows("UPDATE events.worker SET lease_until = now() - interval '1 minute'")
    events = await stage.idle(collecting([]))
    await stage.rows("UPDATE events.worker SET lease_until = now() - interval '1 minute'")
    await events.operations.remove_group("billing", actor="ana", reason="moved")
    with pytest.raises(OperationRefused, match="has just been removed: nothing was started"):
        await replays._store.start(Order(bounds, selection, found, None, "ben", ""))
    assert await count(stage, "replay") == 0


async def test_the_name_begins_anew(stage: Stage) -> None:
    await abandoned(stage)
    events = await stage.idle(collecting([]))
    await events.operations.remove_group("billing", actor="ana", reason="moved")
    seen: list[int] = []
    again = await stage.idle(collecting(seen), group="billing")
    await publish(again, [Placed(order="a", number=7)])
    await again.drain_once()
    assert seen == [7]


async def test_refused_while_a_process_lives(stage: Stage) -> None:
    events = await stage.idle(collecting([]))
    with pytest.raises(OperationRefused, match="'app' has 1 live process"):
        await events.operations.remove_group("app", actor="ana", reason="tidy")
    with pytest.raises(OperationRefused, match="no consumer group 'bling'"):
        await events.operations.remove_group("bling", actor="ana", reason="tidy")
    with pytest.raises(OperationRefused, match="needs a reason"):
        await events.operations.remove_group("app", actor="ana", reason=" ")
    with pytest.raises(OperationRefused, match="actor is empty"):
        await events.operations.remove_group("app", actor="", reason="tidy")
    assert await count(stage, "operator_action") == 0


async def test_a_process_that_wakes_up_after_the_removal_does_nothing(stage: Stage) -> None:
    """It was frozen for longer than its lease; what it holds is lost, and it says why it cannot go on."""
    seen: list[int] = []
    frozen = await stage.idle(collecting(seen), group="billing", heartbeat=0.05)
    await publish(frozen, [Placed(order="a", number=1)])
    await stage.rows("UPDATE events.worker SET lease_until = now() - interval '1 minute'")
    events = await stage.idle(collecting([]))
    for _ in range(20):  # its heartbeat may have come between
        await stage.rows("UPDATE events.worker SET lease_until = now() - interval '1 minute' WHERE group_id = $1",
                         frozen.runtime.group_id)  # fmt: skip
        try:
            await events.operations.remove_group("billing", actor="ana", reason="frozen")
            break
        except OperationRefused:
            await asyncio.sleep(0)
    assert await frozen.drain_once() == 0
    assert seen == []
    with pytest.raises(NotStarted, match="removed this process's consumer group"):
        await register_worker(frozen.runtime)
    heart = frozen.runtime._services[-1]
    await until(lambda: "consumer group" in (heart.trouble or ""))
    assert await count(stage, "worker", f"group_id = {frozen.runtime.group_id}") == 0


async def test_a_group_without_handlers_keeps_nothing(stage: Stage) -> None:
    await stage.idle(group="publishes-only")
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    await age(stage, 31)
    assert (await events.runtime.pruner.prune(math.inf)).rows["event"] == 1
