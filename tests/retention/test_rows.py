"""Row by row: what is past its age goes, and nothing that somebody has still to read."""

import asyncio
import math
from typing import Any
from uuid import uuid4

import pytest

from fastapi_events import DeadLetter, HandlerSession, Module, Retry, RetryLater
from fastapi_events.engine.pruning import Pruned
from tests.delivery.stage import Pinged, Placed, Stage, collecting, effect, publish, until
from tests.delivery.test_dual_publish import beside
from tests.delivery.test_versions import Billed1
from tests.retention.aging import age, count


async def prune(events: Any) -> Pruned:
    pruned: Pruned = await events.runtime.pruner.prune(math.inf)
    assert not pruned.busy
    return pruned


async def test_history_goes_at_its_age(stage: Stage) -> None:
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="a", number=1), Pinged(number=2)])
    assert await events.drain_once() == 2
    await age(stage, 29)
    await publish(events, [Placed(order="a", number=3)])
    await events.drain_once()
    assert (await prune(events)).rows == {}
    await age(stage, 2)
    assert (await prune(events)).rows == {"event": 2, "success_batch": 2}
    page = await events.observe.events()
    assert [event.name for event in page.events] == ["shop.order.placed"]
    assert page.older is None


async def test_zero_is_for_ever(stage: Stage) -> None:
    names = ("history_retention", "dead_letter_retention", "processing_retention", "dedupe_retention")
    events = await stage.idle(collecting([]), **dict.fromkeys(names, 0))
    await publish(events, [Pinged(number=1)])
    await events.drain_once()
    await age(stage, 10_000)
    assert (await prune(events)).rows == {}
    assert await count(stage, "event") == 1


async def test_what_a_group_has_not_read_stays(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    slow = await stage.idle(collecting(seen), group="slow")
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order=str(number), number=number) for number in range(50)])
    await events.drain_once()
    await age(stage, 31)
    pruned = await prune(events)
    assert "event" not in pruned.rows
    assert [group.name for group in pruned.kept_for] == ["slow"]
    assert "The group 'slow' has not read event" in caplog.text
    assert await slow.drain_once() == 50
    assert sorted(seen) == list(range(50))
    assert (await prune(events)).rows["event"] == 50


async def test_an_open_window_keeps_what_it_has_not_reached(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen), batch_size=1)
    await publish(events, [Placed(order="a", number=number) for number in range(3)])
    [lane] = [lane for lane in make_drains(events) if lane.name.endswith("change")] or [None]
    await age(stage, 31, "event")
    first = await stage.value("SELECT min(position) FROM events.event")
    assert lane is not None
    place = "UPDATE events.cursor_log c SET target = pg_current_snapshot(), position = $1, remaining = 2 WHERE lane = 1"
    await stage.rows(place, first)
    assert (await prune(events)).rows["event"] == 1
    await events.drain_once()
    assert seen == [1, 2]


def make_drains(events: Any) -> Any:
    events.runtime.make_drains()
    return events.runtime.drain_loops


async def test_a_late_committer_is_not_missed(stage: Stage) -> None:
    """Its event lies below one that has been read; an id of its own has it inserted at once."""
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=1), event_id=uuid4())
        await publish(events, [Placed(order="a", number=2)])
        await events.drain_once()
        await session.commit()
    await age(stage, 31)
    assert (await prune(events)).rows["event"] == 1
    await events.drain_once()
    assert seen == [2, 1]


async def test_a_waiting_delivery_takes_a_copy(stage: Stage) -> None:
    module, seen, ready = Module("shop"), list[int](), list[bool]()

    @module.on(Placed, retry=Retry(max_attempts=1))
    async def reserve(event: Placed) -> None:
        if not ready:
            raise RetryLater(1)
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2)], headers={"by": "ana"})
    await events.drain_once()
    assert [row["state"] for row in await stage.deliveries()] == ["waiting", "waiting"]
    await age(stage, 31)
    assert (await prune(events)).rows == {"event": 2}
    detail = await events.observe.delivery((await stage.deliveries())[0]["id"])
    assert detail is not None
    assert '"number": 1' in (detail.payload or "")
    ready.append(True)
    await stage.make_due()
    await events.drain_once()
    assert seen == [1, 2]


async def test_the_copy_has_the_other_versions_too(stage: Stage) -> None:
    module, seen, ready = Module("shop"), list[int](), list[bool]()

    @module.on(Billed1, retry=Retry(max_attempts=1))
    async def bill(event: Billed1) -> None:
        if not ready:
            raise RetryLater(1)
        seen.append(event.amount)

    events = await stage.idle(module)
    now, before = beside(7)
    await events.publish(now, also=before)
    await events.drain_once()
    await age(stage, 31)
    assert (await prune(events)).rows == {"event": 1}
    ready.append(True)
    await stage.make_due()
    await events.drain_once()
    assert seen == [7]


async def test_a_delivery_lives_as_long_as_its_event(stage: Stage) -> None:
    module, dies = Module("shop"), [True]

    @module.on(Placed, retry=Retry(max_attempts=1))
    async def reserve(event: Placed) -> None:
        if dies:
            raise DeadLetter("no stock")

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    dies.clear()
    await events.operations.redrive([dead.id], actor="ana")
    await events.drain_once()
    await age(stage, 31, "delivery")
    assert (await prune(events)).rows == {}
    await age(stage, 31, "event")
    assert (await prune(events)).rows == {"event": 1, "delivery": 1}
    assert await count(stage, "attempt") == 0
    assert await events.observe.delivery(dead.id) is None


@pytest.mark.parametrize("on_dead", ["park", "continue"])
async def test_dead_letters_go_at_their_age_unless_they_park_a_key(stage: Stage, on_dead: Any) -> None:
    module = Module("shop")

    @module.on(Placed, on_dead=on_dead, retry=Retry(max_attempts=1))
    async def reserve(event: Placed) -> None:
        raise DeadLetter("no stock")

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    await age(stage, 89)
    assert (await prune(events)).rows == {"event": 1} | ({"success_batch": 1} if on_dead == "never" else {})
    [dead] = (await events.observe.dead_letters()).dead_letters
    await age(stage, 2)
    assert (await prune(events)).rows == ({"delivery": 1} if on_dead == "continue" else {})
    if on_dead == "park":
        await publish(events, [Placed(order="a", number=2)])
        await events.drain_once()
        assert [row["state"] for row in await stage.deliveries()] == ["dead", "waiting"]
        await events.operations.discard([dead.id], actor="ana", reason="sold out")
        assert await count(stage, "delivery", "state = 'discarded'") == 1


def transactional(ready: list[bool]) -> Module:
    module = Module("shop")

    @module.on(Placed, retry=Retry(max_attempts=1))
    async def reserve(event: Placed, session: HandlerSession) -> None:
        if not ready:
            raise DeadLetter("no stock")
        await effect(session, "reserve", event.number)

    return module


async def test_marks_go_at_their_age(stage: Stage) -> None:
    events = await stage.idle(transactional([True]), processing_retention=7 * 86_400)
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    await age(stage, 6)
    assert (await prune(events)).rows == {}
    await age(stage, 2)
    assert (await prune(events)).rows == {"processing_mark": 1}


async def test_the_mark_of_a_dead_delivery_lives_as_long_as_it(stage: Stage) -> None:
    events = await stage.idle(transactional([]))
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    assert await count(stage, "processing_mark", "outcome = 'x'") == 1
    await age(stage, 50)
    assert (await prune(events)).rows == {"event": 1}
    [dead] = (await events.observe.dead_letters()).dead_letters
    await events.operations.discard([dead.id], actor="ana", reason="sold out")
    assert (await prune(events)).rows == {"processing_mark": 1}


async def test_the_marks_of_events_that_are_not_settled_stay(stage: Stage) -> None:
    """Handled ten days ago by a process that died before it could record it; the group has been down since."""
    events = await stage.idle(transactional([True]))
    await publish(events, [Placed(order="a", number=1)])
    before = await stage.rows("SELECT max(seq) AS seq, lane, partition FROM events.cursor_log GROUP BY 2, 3")
    await events.drain_once()
    for row in before:
        await stage.rows(
            "DELETE FROM events.cursor_log WHERE lane = $1 AND partition = $2 AND seq > $3",
            row["lane"], row["partition"], row["seq"],
        )  # fmt: skip
    await age(stage, 10)
    assert "processing_mark" not in (await prune(events)).rows
    again = await stage.idle(transactional([True]))
    await again.drain_once()
    assert await stage.value("SELECT count(*) FROM effect") == 1


async def test_keys_of_ones_own_outlive_what_waits_with_them(stage: Stage) -> None:
    """A twin that was parked for weeks behind a dead letter finds the mark of the first."""
    module, runs, ready = Module("shop"), list[int](), list[bool]()

    @module.on(Placed, idempotency_key=lambda event: f"pay-{event.number}", retry=Retry(max_attempts=1))
    async def pay(event: Placed, session: HandlerSession) -> None:
        if event.number == 0 and not ready:
            raise DeadLetter("card refused")
        runs.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="b", number=7)])
    await publish(events, [Placed(order="a", number=0), Placed(order="a", number=7)])
    await events.drain_once()
    assert runs == [7]
    await age(stage, 20)
    assert "processing_mark" not in (await prune(events)).rows
    ready.append(True)
    [dead] = (await events.observe.dead_letters()).dead_letters
    await events.operations.redrive([dead.id], actor="ana")
    await events.drain_once()
    assert runs == [7, 0]


async def test_given_ids_are_forgotten(stage: Stage) -> None:
    events, one = await stage.idle(collecting([])), uuid4()
    await events.publish(Pinged(number=1), event_id=one)
    await age(stage, 89, "event_key")
    assert (await prune(events)).rows == {}
    assert (await events.publish(Pinged(number=1), event_id=one)).duplicate
    await age(stage, 2, "event_key")
    assert (await prune(events)).rows == {"event_key": 1}
    assert not (await events.publish(Pinged(number=1), event_id=one)).duplicate


async def test_the_id_of_a_scheduled_event_is_remembered_while_it_waits(stage: Stage) -> None:
    events, one = await stage.idle(collecting([])), uuid4()
    await events.publish(Pinged(number=1), event_id=one, delay=60)
    await age(stage, 200, "event_key")
    assert (await prune(events)).rows == {}
    assert (await events.publish(Pinged(number=1), event_id=one)).duplicate
    await stage.rows("UPDATE events.scheduled_event SET due_at = clock_timestamp() - interval '1 second'")
    assert await events.drain_once() == 1
    await age(stage, 89, "event_key")
    assert (await prune(events)).rows == {}, "the days count from when it was appended"
    await age(stage, 2, "event_key")
    assert (await prune(events)).rows == {"event_key": 1}


async def test_the_id_of_a_cancelled_event_outlives_its_time(stage: Stage) -> None:
    events, one = await stage.idle(collecting([])), uuid4()
    await events.publish(Pinged(number=1), event_id=one, delay=100 * 86_400)
    assert await events.operations.cancel_scheduled(one, actor="ana")
    await age(stage, 189, "event_key")
    assert (await prune(events)).rows == {}
    assert (await events.publish(Pinged(number=1), event_id=one)).duplicate
    await age(stage, 2, "event_key")
    assert (await prune(events)).rows == {"event_key": 1}


async def test_rounds_are_bounded_and_go_on_where_they_stopped(stage: Stage) -> None:
    events = await stage.idle(collecting([]))
    handler = await stage.value("SELECT min(id) FROM events.handler")
    await stage.rows(
        "INSERT INTO events.processing_mark (handler_id, key, position, marked_at) "
        "SELECT $1, gen_random_uuid(), n, now() - interval '20 days' FROM generate_series(1, 20000) n",
        handler,
    )
    left, rounds = 20_000, 0
    while left:
        pruned = await events.runtime.pruner.prune(1e-6)
        assert pruned.rows.get("processing_mark", 0) < 6_000
        left, rounds = left - pruned.rows.get("processing_mark", 0), rounds + 1
        assert pruned.more == (left > 0) or rounds > 100
        assert rounds < 200
    assert rounds > 3
    assert await count(stage, "processing_mark") == 0


async def test_one_process_at_a_time(stage: Stage) -> None:
    events, other = await stage.idle(collecting([])), await stage.idle(collecting([]))
    assert not (await events.runtime.pruner.prune(every=30)).busy
    assert (await other.runtime.pruner.prune(every=30)).busy
    assert not (await other.runtime.pruner.prune()).busy


async def test_pruning_beside_the_drain(stage: Stage) -> None:
    """While a worker handles what is published all the time, old history goes, and every event is handled once."""
    seen: list[int] = []
    old = await stage.idle(collecting([]))
    await publish(old, [Pinged(number=number) for number in range(1_000)])
    await old.drain_once()
    await age(stage, 31)
    events = await stage.running(collecting(seen))
    done = asyncio.Event()

    async def prunes() -> int:
        removed = 0
        while not (done.is_set() and removed == 1_000):
            removed += (await events.runtime.pruner.prune(0.01)).rows.get("event", 0)
        return removed

    pruning = asyncio.create_task(prunes())
    for first in range(0, 1_000, 100):
        await publish(events, [Placed(order=str(n % 7), number=n) for n in range(first, first + 100)])
    await until(lambda: len(seen) == 1_000)
    done.set()
    assert await pruning == 1_000
    assert sorted(seen) == list(range(1_000))
    assert await count(stage, "event") == 1_000
