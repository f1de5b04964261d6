"""``start=``: a handler that is new is given history first, and live delivery joins it without gap or overlap."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from fastapi_events import Delivery, Events, HandlerSession, Module, Retry, fixed
from fastapi_events.engine.runtime import Runtime
from fastapi_events.model.lane import LANES
from fastapi_events.model.start import Start
from fastapi_events.store.group import HandlerRow
from tests.delivery.stage import Pinged, Placed, Stage, collecting, effect, publish, until, within

DUTY = "ann"


def late(seen: list[int], start: Any, **options: Any) -> Module:
    """A module whose one handler is new."""
    module = Module("late")

    @module.on(Placed, start=start, **options)
    async def note(event: Placed) -> None:
        seen.append(event.number)

    return module


async def history(stage: Stage, numbers: range, keys: int = 3) -> Events:
    """An instance that only publishes, and has published these."""
    old = await stage.idle(Module("old"))
    await publish(old, [Placed(order=str(n % keys), number=n) for n in numbers])
    return old


async def replay_of(events: Events) -> Any:
    [replay] = await events.operations.replays.list()
    return replay


async def test_from_the_beginning_it_is_given_everything_once_and_what_comes_after(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(7))
    await publish(old, [Pinged(number=100)])
    new = await stage.idle(late(seen, "beginning"))
    [handler] = [h for h in await new.observe.handlers() if h.name == "late.note"]
    assert handler.catching_up_since is not None
    await publish(old, [Placed(order=str(n % 3), number=n) for n in range(7, 12)])
    await new.drain_once()
    assert sorted(seen) == list(range(12))
    for key in range(3):
        assert [n for n in seen if n % 3 == key] == [n for n in range(12) if n % 3 == key]
    replay = await replay_of(new)
    assert (replay.state, replay.starts, replay.total, replay.done, replay.share) == ("done", True, None, 7, 1.0)
    assert (replay.created_by, replay.reason) == ("start", "the handler is new: start='beginning'")
    [handler] = [h for h in await new.observe.handlers() if h.name == "late.note"]
    assert handler.catching_up_since is None
    [action] = (await new.observe.actions()).actions
    assert (action.action, action.actor, action.target) == ("start_replay", "start", "late.note")


async def test_a_position_and_a_moment_are_inclusive(stage: Stage) -> None:
    by_position: list[int] = []
    by_time: list[int] = []
    old = await history(stage, range(5))
    await stage.rows("UPDATE events.event SET published_at = published_at - interval '1 day' WHERE position < 4")
    row = (await stage.rows("SELECT position, published_at FROM events.event WHERE position >= 4 ORDER BY position"))[0]
    await stage.idle(late(by_position, row["position"]), group="by_position")
    await stage.idle(late(by_time, row["published_at"]), group="by_time")
    await publish(old, [Placed(order="a", number=5)])
    for events in stage.instances[1:]:
        await events.drain_once()
    number = int(
        await stage.value("SELECT payload ->> 'number' FROM events.event WHERE position = $1", row["position"])
    )
    assert sorted(by_position) == sorted(by_time) == list(range(number, 6))


async def test_a_wildcard_is_given_the_history_that_it_selects(stage: Stage) -> None:
    seen: list[str] = []
    module = Module("late")

    @module.on("shop.order.*", start="beginning")
    async def note(event: Any) -> None:
        seen.append(event.name)

    old = await history(stage, range(2))
    await publish(old, [Pinged(number=1)])
    new = await stage.idle(module)
    await new.drain_once()
    assert seen == ["shop.order.placed"] * 2


async def test_without_history_and_with_now_there_is_no_replay(stage: Stage) -> None:
    seen: list[int] = []
    first = await stage.idle(late(seen, "beginning"))
    await publish(first, [Placed(order="a", number=1)])
    await stage.idle(late(seen, "now"), group="other")
    await stage.idle(late(seen, 2**40), group="far")
    await stage.idle(late(seen, datetime.now(UTC) - timedelta(days=1)), group="recent")
    rows = await stage.rows(
        "SELECT g.name FROM events.replay r JOIN events.handler h ON h.id = r.handler_id "
        "JOIN events.consumer_group g ON g.id = h.group_id"
    )
    assert [row["name"] for row in rows] == ["recent"]
    await first.drain_once()
    assert seen == [1]


async def test_a_transaction_open_across_the_registration_is_live_and_one_before_it_is_history(stage: Stage) -> None:
    told: list[tuple[int, bool]] = []
    module = Module("late")

    @module.on(Placed, start="beginning", ordered=False)
    async def note(event: Placed, delivery: Delivery) -> None:
        told.append((event.number, delivery.replay_id is not None))

    old = await history(stage, range(1))
    async with old.session() as session:
        await old.publisher(session)(Placed(order="a", number=1), event_id=uuid4())
        await publish(old, [Placed(order="a", number=2)])
        new = await stage.idle(module)
        await session.commit()
    await publish(old, [Placed(order="a", number=3)])
    await new.drain_once()
    assert sorted(told) == [(0, True), (1, False), (2, True), (3, False)]


async def test_history_comes_first_although_one_of_it_is_tried_again(stage: Stage) -> None:
    seen: list[int] = []
    failures = [0, 0]
    module = Module("late")

    @module.on(Placed, start="beginning", retry=Retry(5, fixed(3600)))
    async def note(event: Placed) -> None:
        if event.number == 0 and failures:
            failures.pop()
            raise ValueError("not yet")
        seen.append(event.number)

    old = await history(stage, range(4), keys=2)
    new = await stage.idle(module)
    await publish(old, [Placed(order=str(n % 2), number=n) for n in range(4, 8)])
    await new.drain_once()
    assert seen == [1, 3]
    reasons = {row["reason"] for row in await stage.deliveries("waiting") if row["replay_id"].int == 0}
    assert reasons == {"catching_up", "key_blocked"}
    for _ in range(2):
        await stage.make_due()
        await new.drain_once()
    assert [n for n in seen if n % 2 == 0] == [0, 2, 4, 6]
    assert [n for n in seen if n % 2] == [1, 3, 5, 7]
    assert (await replay_of(new)).state == "done"


async def test_what_dies_in_history_holds_nothing_live(stage: Stage) -> None:
    seen: list[int] = []
    module = Module("late")

    @module.on(Placed, start="beginning", retry=Retry(1))
    async def note(event: Placed) -> None:
        if event.number == 0:
            raise ValueError("never")
        seen.append(event.number)

    old = await history(stage, range(3), keys=1)
    new = await stage.idle(module)
    await publish(old, [Placed(order="0", number=3)])
    await new.drain_once()
    assert seen == [3]
    [dead] = await stage.deliveries("dead")
    replay = await replay_of(new)
    assert (dead["replay_id"], replay.state, replay.dead, replay.waiting) == (replay.id, "done", 1, 2)


async def test_an_unordered_handler_is_called_live_beside_its_history(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(3))
    new = await stage.idle(late(seen, "beginning", ordered=False))
    replay = await replay_of(new)
    await new.operations.replays.pause(replay.id, actor=DUTY)
    await publish(old, [Placed(order="a", number=3)])
    await new.drain_once()
    assert seen == [3]
    await new.operations.replays.resume(replay.id, actor=DUTY)
    await new.drain_once()
    assert sorted(seen) == [0, 1, 2, 3]


async def test_a_pause_of_the_replay_or_the_handler_holds_both_and_cancelling_lets_live_go(stage: Stage) -> None:
    seen: list[int] = []
    others: list[int] = []
    old = await history(stage, range(3))
    new = await stage.idle(late(seen, "beginning"), collecting(others))
    replay = await replay_of(new)
    await publish(old, [Placed(order="a", number=3)])
    await new.operations.pause(handler="late.note", actor=DUTY)
    await new.runtime.refresh_plan()
    await new.drain_once()
    assert (seen, others) == ([], [3])
    await new.operations.replays.pause(replay.id, actor=DUTY)
    await new.operations.resume(handler="late.note", actor=DUTY)
    await new.runtime.refresh_plan()
    await new.drain_once()
    assert seen == []
    await new.operations.replays.cancel(replay.id, actor=DUTY)
    await new.runtime.refresh_plan()
    await new.drain_once()
    assert seen == [3]


async def test_processes_that_register_at_once_make_one_replay_and_a_restart_none(stage: Stage) -> None:
    seen: list[int] = []
    old = await history(stage, range(20))
    several = [stage.make(late(seen, "beginning")) for _ in range(3)]
    await within(asyncio.gather(*(events.start(drains=True) for events in several)))
    await publish(old, [Placed(order=str(n % 3), number=n) for n in range(20, 30)])
    await until(lambda: len(seen) >= 30)
    await until(lambda: stage.value("SELECT state = 'done' FROM events.replay"))
    for events in several:
        await events.stop()
    again = await stage.idle(late(seen, "beginning"))
    await again.drain_once()
    assert sorted(seen) == list(range(30))
    for key in range(3):
        assert [n for n in seen if n % 3 == key] == [n for n in range(30) if n % 3 == key]
    assert await stage.value("SELECT count(*) FROM events.replay") == 1


async def test_processes_that_drain_by_themselves_hear_of_the_end_at_once(stage: Stage) -> None:
    """Polling and the heartbeat are minutes away: only the word of the process that ends the replay can have come."""
    seen: list[int] = []
    slow = {"poll_interval": 600.0, "poll_interval_degraded": 600.0, "heartbeat": 60.0, "lease": 300.0}
    gate = asyncio.Event()
    module = Module("late")

    @module.on(Placed, start="beginning")
    async def note(event: Placed) -> None:
        await gate.wait()
        seen.append(event.number)

    old = await history(stage, range(1))
    several = [await stage.running(module, **slow) for _ in range(2)]
    assert all(events.runtime.gates.catching_up for events in several)
    await publish(old, [Placed(order=str(n), number=n) for n in range(1, 5)])
    await until(lambda: stage.value("SELECT count(*) = 4 FROM events.delivery WHERE reason = 'catching_up'"))
    assert seen == []
    gate.set()
    await until(lambda: len(seen) == 5)
    assert seen[0] == 0
    await until(lambda: not any(events.runtime.gates.closed for events in several))


async def registered_only(runtime: Runtime) -> None:
    """What a process has done that dies between registering the handler and starting it."""
    row = HandlerRow("late.note", "shop.order.placed", True, "park", (), Start())
    await runtime.store._register_handlers(runtime.group_id, {row.name: row})


async def test_of_two_that_start_the_handler_in_the_same_moment_one_does(stage: Stage) -> None:
    seen: list[int] = []
    await history(stage, range(3))
    old = stage.instances[0].runtime
    await registered_only(old)
    other = await asyncpg.connect(stage.url)
    try:
        starting = other.transaction()
        await starting.start()
        await other.execute(old.statements["start_handlers"], old.group_id, list(LANES.values()))
        process = asyncio.create_task(old.store.handlers(old.group_id))
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
        await until(lambda: stage.value(blocked, other.get_server_pid()), "the process that starts it too")
        await starting.commit()
        await within(process)
    finally:
        await other.close()
    assert await stage.value("SELECT count(*) FROM events.replay") == 1
    new = await stage.idle(late(seen, "beginning"))
    await new.drain_once()
    assert sorted(seen) == [0, 1, 2]


async def test_a_crash_between_registering_and_starting_loses_no_history(stage: Stage) -> None:
    seen: list[int] = []
    await history(stage, range(3))
    new = stage.make(late(seen, "beginning"))
    old = stage.instances[0].runtime
    await registered_only(old)
    assert await stage.value("SELECT count(*) FROM events.replay") == 0
    await new.start(drains=False)
    await new.drain_once()
    assert sorted(seen) == [0, 1, 2]


async def test_a_handler_that_exists_ignores_it_under_its_new_name_too(stage: Stage) -> None:
    seen: list[int] = []
    first = await stage.idle(late(seen, "now"))
    await publish(first, [Placed(order="a", number=1)])
    await first.drain_once()
    await first.stop()
    second = await stage.idle(late(seen, "beginning"))
    await second.drain_once()
    await second.stop()
    third = await stage.idle(late(seen, "beginning", id="late.renamed", was=("late.note",)))
    await third.drain_once()
    assert seen == [1]
    assert await stage.value("SELECT count(*) FROM events.replay") == 0


async def test_a_transactional_handler_applies_history_and_live_once(stage: Stage) -> None:
    module = Module("late")

    @module.on(Placed, start="beginning")
    async def charge(event: Placed, session: HandlerSession) -> None:
        await effect(session, "charge", event.number)

    old = await history(stage, range(10))
    new = await stage.running(module)
    await publish(old, [Placed(order=str(n % 3), number=n) for n in range(10, 20)])
    await until(lambda: stage.value("SELECT count(*) >= 20 FROM effect"))
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.delivery WHERE state = 'waiting'"))
    await new.stop()
    rows = await stage.rows("SELECT number, count(*) AS n FROM effect GROUP BY number ORDER BY number")
    assert [(row["number"], row["n"]) for row in rows] == [(n, 1) for n in range(20)]


async def test_an_old_process_that_lacks_the_handler_leaves_live_events_behind_the_history(stage: Stage) -> None:
    seen: list[int] = []
    others: list[int] = []
    old = await stage.idle(collecting(others))
    await publish(old, [Placed(order="a", number=n) for n in range(3)])
    new = await stage.idle(collecting(others), late(seen, "beginning"))
    await publish(old, [Placed(order="a", number=3)])
    await old.drain_once()
    assert [row["reason"] for row in await stage.deliveries("waiting")] == ["no_handler"]
    await new.drain_once()
    assert seen == [0, 1, 2, 3]


async def test_what_its_history_has_still_to_read_is_kept(stage: Stage) -> None:
    await history(stage, range(3))
    new = await stage.idle(late([], "beginning"))
    assert await stage.value("SELECT count(*) FROM events.replay WHERE state = 'running'") == 1
    rows = await new.runtime.database.fetch(new.runtime.statements["read_replay_floor"], 600.0)
    assert rows[0]["position"] <= await stage.value("SELECT min(position) FROM events.event")
