"""From the schedule to the log: when it is time, once, in order, by whichever process looks first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from fastapi_events import Delivery, Module
from fastapi_events.model.context import flowing
from fastapi_events.model.schedule import SCHEDULE
from fastapi_events.store.schedule import ScheduleStore
from tests.delivery.stage import SLOW, Pinged, Placed, Stage, collecting, until, within

WAITING = "SELECT count(*) FROM events.scheduled_event"
NUMBERS = "SELECT (payload->>'number')::int AS number FROM events.event ORDER BY position"


async def numbers(stage: Stage) -> list[int]:
    return [row["number"] for row in await stage.rows(NUMBERS)]


async def make_due(stage: Stage, seconds: float = 1.0) -> None:
    """Let everything that waits have become due, in its order."""
    await stage.rows(
        "UPDATE events.scheduled_event SET due_at = due_at - (SELECT max(due_at) FROM events.scheduled_event) "
        "+ clock_timestamp() - make_interval(secs => $1)",
        seconds,
    )


async def test_nobody_handles_it_before_its_time(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    await events.publish(Placed(order="a", number=1), delay=timedelta(hours=1))
    await events.publish(Placed(order="a", number=2))
    assert await events.drain_once() == 1
    assert (seen, await stage.value(WAITING)) == ([2], 1), "it holds no key"
    await make_due(stage)
    assert await events.drain_once() == 1
    assert (seen, await stage.value(WAITING)) == ([2, 1], 0)


async def test_a_delay_is_kept_by_the_databases_clock(stage: Stage) -> None:
    events = await stage.idle(collecting([]))
    await events.publish(Pinged(number=1), delay=90)
    await events.publish(Pinged(number=2), at=datetime.now(UTC) + timedelta(days=3))
    [by_delay, by_time] = await stage.rows(
        "SELECT extract(epoch FROM due_at - scheduled_at)::float8 AS seconds "
        "FROM events.scheduled_event ORDER BY number"
    )
    assert by_delay["seconds"] == pytest.approx(90, abs=0.01)
    assert by_time["seconds"] == pytest.approx(3 * 86_400, abs=60)


async def test_a_time_that_is_over_is_now_and_no_delay_is_none(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    published = await events.publish(Pinged(number=1), at=datetime(1950, 1, 1, tzinfo=UTC))
    none = [await events.publish(Pinged(number=2), delay=0), await events.publish(Pinged(number=3), delay=timedelta())]
    assert (published.scheduled, [one.scheduled for one in none]) == (True, [False, False])
    assert await numbers(stage) == [2, 3]
    await events.drain_once()
    assert sorted(seen) == [1, 2, 3]


async def test_in_the_order_of_their_times_then_of_publishing(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as session:
        publish = events.publisher(session)
        for number, delay in ((3, 30), (1, 10), (4, 30), (2, 20), (5, 30)):
            await publish(Placed(order="a", number=number), delay=delay)
        await session.commit()
    await make_due(stage)
    await events.drain_once()
    assert await numbers(stage) == seen == [1, 2, 3, 4, 5]


async def test_a_running_instance_keeps_time_by_itself(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    await events.publish(Pinged(number=1), delay=0.3)
    await events.publish(Pinged(number=2), delay=0.1)
    assert seen == []
    await until(lambda: seen == [2, 1])


@pytest.mark.parametrize("notify", ["after_commit", "transactional"])
async def test_whoever_sleeps_hears_of_what_is_due_earlier(stage: Stage, notify: str) -> None:
    """Polling is too rare to have found it: the notification told how soon it is due."""
    seen: list[int] = []
    await stage.running(collecting(seen), notify=notify, **SLOW)
    publisher = await stage.idle(notify=notify, **SLOW)
    await publisher.publish(Pinged(number=3), delay=3600)
    await publisher.publish(Pinged(number=1), delay=0.1)
    await until(lambda: seen == [1])
    await publisher.publish(Pinged(number=2), at=datetime.now(UTC) + timedelta(seconds=0.1))
    await until(lambda: seen == [1, 2])
    assert await stage.value(WAITING) == 1


async def test_a_running_instance_finds_at_once_what_is_over(stage: Stage) -> None:
    """Quick looks go back only a little: a time long ago, and a transaction that lasts longer than the delay."""
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    await events.publish(Pinged(number=1), delay=0.05)
    await until(lambda: seen == [1])
    await events.publish(Pinged(number=2), at=datetime(1950, 1, 1, tzinfo=UTC))
    await until(lambda: seen == [1, 2])
    async with events.session() as session, session.begin():
        await events.publish(Pinged(number=3), session=session, delay=0.05, event_id=uuid4())
        await (await session.connection()).execute(text("SELECT pg_sleep(0.1)"))
    await until(lambda: seen == [1, 2, 3])


async def test_without_notifications_polling_finds_it(stage: Stage) -> None:
    seen: list[int] = []
    await stage.running(collecting(seen), notify="off", poll_interval=0.1)
    publisher = await stage.idle(notify="off")
    await publisher.publish(Pinged(number=1), delay=0.05)
    await until(lambda: seen == [1])


async def test_what_is_far_away_wakes_nobody(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    next_due = ScheduleStore.next_due

    async def counted(self: ScheduleStore, look_back: float | None) -> float | None:
        nonlocal looks
        looks += 1
        return await next_due(self, look_back)

    seen: list[int] = []
    monkeypatch.setattr(ScheduleStore, "next_due", counted)
    events = await stage.running(collecting(seen), **SLOW)
    await until(lambda: looks > 0 and not events.runtime.wake.lanes[SCHEDULE].is_set())
    looks = 0
    for number in range(20):
        await events.publish(Pinged(number=number), delay=3600)
    await events.publish(Pinged(number=20), delay=0.05)
    await until(lambda: seen == [20])
    assert looks <= 4, "the first tells when it is time, the others find it and what comes next"


async def test_several_processes_append_each_event_once(stage: Stage) -> None:
    seen: list[int] = []
    movers = [await stage.idle(collecting(seen), group=f"group-{number}") for number in range(3)]
    async with movers[0].session() as session:
        await movers[0].publisher(session).many([Placed(order="a", number=n) for n in range(2_000)], delay=60)
        await session.commit()
    await make_due(stage)
    for events in movers:
        events.runtime.make_drains()

    moved: list[int] = []

    async def move(events: Any) -> None:
        while sum(moved) < 2_000:
            moved.append(await events.runtime.scheduler.move(full=True))

    await within(asyncio.gather(*map(move, movers)))
    assert sum(moved) == 2_000
    assert await numbers(stage) == list(range(2_000)), "each once, and in order across batches and processes"


async def test_a_batch_that_ends_half_way_leaves_the_schedule_as_it_was(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    key = uuid4()
    await events.publish(Pinged(number=1), delay=60, event_id=key)
    await make_due(stage)
    async with events.runtime.database.acquire() as connection:
        await connection.execute("BEGIN")
        moved = await connection.fetch(events.runtime.statements["append_due_events"], 100, None)
        assert len(moved) == 1
        connection.terminate()
    await until(lambda: stage.value(WAITING))
    assert await stage.value("SELECT position FROM events.event_key") is None
    await until(events.drain_once)
    assert (seen, await numbers(stage)) == ([1], [1])
    assert await stage.value("SELECT position FROM events.event_key WHERE event_id = $1", key) is not None


async def test_it_keeps_what_it_was_published_with(stage: Stage) -> None:
    module, deliveries = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, delivery: Delivery) -> None:
        deliveries.append(delivery)

    events = await stage.idle(module)
    correlation, cause, happened = uuid4(), uuid4(), datetime(2020, 1, 1, tzinfo=UTC)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with flowing(actor="ann", tenant_id="acme", traceparent=trace, depth=4):
        published = await events.publish(
            Placed(order="a", number=1), delay=60, correlation_id=correlation, causation_id=cause,
            headers={"x": "y"}, occurred_at=happened,
        )  # fmt: skip
        said = await events.publish(Placed(order="b"), delay=60)
    await make_due(stage)
    before = await stage.value("SELECT clock_timestamp()")
    await events.drain_once()
    row, other = await stage.rows("SELECT *, headers->>'x' AS x FROM events.event ORDER BY position")
    assert (row["id"], row["correlation_id"], row["causation_id"]) == (published.event_id, correlation, cause)
    assert (row["actor"], row["tenant_id"], row["depth"], row["key"]) == ("ann", "acme", 4, "acme/order/a")
    assert (row["occurred_at"], row["x"]) == (happened, "y")
    assert other["id"] == other["correlation_id"] == said.event_id
    assert other["occurred_at"] < before <= other["published_at"], "when it was said, and when it was appended"
    assert deliveries[0].headers["traceparent"] == trace
    assert deliveries[0].published_at == row["published_at"]


async def test_an_instance_that_is_switched_off_moves_nothing(stage: Stage) -> None:
    off = await stage.running(collecting([]), enabled=False)
    publisher_only = await stage.idle(collecting([]))
    assert (off.runtime.scheduler, publisher_only.runtime.scheduler) == (None, None)
