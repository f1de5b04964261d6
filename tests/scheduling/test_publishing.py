"""Scheduling in the caller's transaction, whatever that is, and what is refused before it."""

import asyncio
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from fastapi_events import EventPublisher, HandlerConnection, HandlerSession, Module, Published, Retry, fixed
from fastapi_events.errors import ContradictoryOptions, EventsError, InvalidPayload
from fastapi_events.model.schedule import SCHEDULE
from tests.delivery.stage import Placed, Shipped, Stage
from tests.handlers.test_transactional import FORGET
from tests.publishing.conftest import until
from tests.publishing.shop import Counted, Log, Noted, Port, Sold
from tests.scheduling.ways import Way, Ways

FAR = timedelta(days=30)
BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def scheduled(log: Log) -> list[Any]:
    return await log.fetch("SELECT * FROM events.scheduled_event ORDER BY number")


async def test_with_the_transaction_or_not_at_all(way: Way, log: Log, port: Port) -> None:
    async with way() as line:
        await line.publish(Noted(number=1), delay=FAR)
    assert (await scheduled(log), port.woken) == ([], [])
    async with way() as line:
        published = await line.publish(Noted(number=2), delay=FAR)
        assert await scheduled(log) == []
        await line.commit()
        await until(lambda: port.woken == [{SCHEDULE}])
    [row] = await scheduled(log)
    assert published == Published(row["id"], duplicate=False, scheduled=True)
    assert await log.numbers() == []


async def test_with_its_savepoint(way: Way, log: Log) -> None:
    async with way() as line:
        kept = await line.publish(Noted(number=1), delay=FAR)
        with pytest.raises(KeyError):
            async with line.savepoint():
                await line.publish(Noted(number=2), delay=FAR)
                raise KeyError
        async with line.savepoint():
            also = await line.publish(Noted(number=3), delay=FAR)
        await line.commit()
    assert {row["id"] for row in await scheduled(log)} == {kept.event_id, also.event_id}


async def test_among_others_of_one_transaction(way: Way, log: Log) -> None:
    async with way() as line:
        await line.publish(Noted(number=1))
        later = await line.many([Noted(number=number) for number in (2, 3)], delay=3600)
        await line.publish(Counted(item=1, number=4), at=datetime.now(UTC) + FAR)
        await line.publish(Noted(number=5), event_id=uuid4(), delay=FAR)
        await line.publish(Counted(item=1, number=6))
        await line.raw("shop.item.imported", {"number": 7}, delay=FAR)
        await line.commit()
    rows = await scheduled(log)
    assert [row["id"] for row in rows[:2]] == [published.event_id for published in later]
    assert rows[0]["due_at"] == rows[1]["due_at"], (
        "one moment for one statement, so that their order is that of numbers"
    )
    assert [row["name"] for row in rows[2:]] == ["shop.item.counted", "shop.item.noted", "shop.item.imported"]
    assert await log.numbers() == [1, 6]


async def test_an_id_is_given_once(way: Way, log: Log) -> None:
    """While it waits, once it was appended, and after it was cancelled."""
    key = uuid4()

    async def publish(**options: Any) -> Published:
        async with way() as line:
            published: Published = await line.publish(Noted(number=1), event_id=key, **options)
            await line.commit()
        return published

    assert await publish(delay=FAR) == Published(key, duplicate=False, scheduled=True)
    for options in ({"delay": FAR}, {"delay": timedelta(seconds=1)}, {}):
        assert await publish(**options) == Published(key, duplicate=True)
    async with way() as line:
        assert await line.cancel(key)
        await line.commit()
    for options in ({"delay": FAR}, {}):
        assert await publish(**options) == Published(key, duplicate=True)
    key = uuid4()
    assert not (await publish()).duplicate
    assert await publish(delay=FAR) == Published(key, duplicate=True)
    assert (len(await log.rows()), await scheduled(log)) == (1, [])


async def test_an_id_that_two_transactions_give_at_once(ways: Ways, log: Log) -> None:
    key = uuid4()
    async with ways["AsyncSession"]() as first, ways["AsyncConnection"]() as second:
        assert not (await first.publish(Noted(number=1), event_id=key, delay=FAR)).duplicate
        other = asyncio.create_task(second.publish(Noted(number=2), event_id=key))
        await until_blocked(log)
        await first.commit()
        assert (await other).duplicate
        await second.commit()
    assert (len(await scheduled(log)), await log.numbers()) == (1, [])


async def until_blocked(log: Log) -> None:
    for _ in range(2_000):
        if await log.fetch(BLOCKED):
            return
    raise AssertionError("nobody waited")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"delay": 5, "at": datetime.now(UTC)}, ContradictoryOptions, "Noted: .*delay= and at=.*Pass one"),
        ({"delay": -1}, InvalidPayload, r"Noted: delay=-1: a delay is 0 seconds to ten years"),
        ({"delay": timedelta(seconds=-1)}, InvalidPayload, "ten years"),
        ({"delay": math.nan}, InvalidPayload, "delay=nan"),
        ({"delay": math.inf}, InvalidPayload, "delay=inf"),
        ({"delay": 10**5_000}, InvalidPayload, "ten years"),
        ({"delay": timedelta(days=3_651)}, InvalidPayload, "ten years"),
        ({"delay": True}, InvalidPayload, "delay=True is no duration"),
        ({"delay": "soon"}, InvalidPayload, "delay='soon' is no duration. Pass seconds as a number, or a timedelta"),
        (
            {"at": datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)},
            InvalidPayload,
            "at=2030-01-01 00:00:00 has no time zone",
        ),
        ({"at": "tomorrow"}, InvalidPayload, "at='tomorrow' has no time zone"),
        ({"at": 1_900_000_000}, InvalidPayload, "no time zone"),
        ({"at": datetime.now(UTC) + timedelta(days=3_651)}, InvalidPayload, "more than ten years away"),
        ({"at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))}, InvalidPayload, "years 1 to 9999"),
    ],
)
async def test_what_is_no_time_is_refused_before_any_sql(
    ways: Ways, log: Log, options: dict[str, Any], error: type[EventsError], says: str
) -> None:
    async with ways["AsyncSession"]() as line:
        with pytest.raises(error, match=says):
            await line.publish(Noted(number=1), **options)
        await line.commit()
    assert await scheduled(log) == []


async def test_outside_of_requests(stage: Stage, log: Log) -> None:
    events = await stage.idle()
    published = await events.publish(Placed(order="a"), delay=60)
    async with events.session() as session:
        also = await events.publish(Placed(order="a"), session=session, delay=60)
        await session.commit()
    assert [row["id"] for row in await scheduled(log)] == [published.event_id, also.event_id]
    assert published.scheduled


@pytest.mark.parametrize("kind", ["no session", "session", "connection"])
async def test_in_a_handler_with_its_success_and_once(stage: Stage, log: Log, kind: str) -> None:
    module, attempts = Module("shop"), 0

    async def schedule(event: Placed, publish: EventPublisher) -> None:
        nonlocal attempts
        attempts += 1
        await publish(Shipped(order=event.order, number=attempts), delay=60)
        await publish(Shipped(order=event.order, number=-attempts))
        if attempts == 1:
            raise RuntimeError("not yet")

    once = module.on(Placed, id="schedule", retry=Retry(3, fixed(0)))
    if kind == "session":

        @once
        async def in_session(event: Placed, publish: EventPublisher, session: HandlerSession) -> None:
            await schedule(event, publish)
    elif kind == "connection":

        @once
        async def on_connection(event: Placed, publish: EventPublisher, connection: HandlerConnection) -> None:
            await schedule(event, publish)
    else:

        @once
        async def alone(event: Placed, publish: EventPublisher) -> None:
            await schedule(event, publish)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"), correlation_id=(correlation := uuid4()))
    await events.drain_once()
    assert attempts == 2
    [row] = await scheduled(log)
    assert row["correlation_id"] == correlation
    assert (row["depth"], row["name"]) == (1, "shop.order.shipped")
    await stage.rows("DELETE FROM events.processing_mark")
    for waits in (True, False):
        if not waits:
            await stage.rows("UPDATE events.scheduled_event SET due_at = clock_timestamp()")
            await events.drain_once()
            await stage.rows("DELETE FROM events.processing_mark")
        attempts = 1
        await stage.rows(FORGET)
        await events.drain_once()
        assert [row["id"] for row in await scheduled(log)] == ([row["id"]] if waits else [])
    ids: list[UUID] = [one["id"] for one in await log.rows()]
    assert ids.count(row["id"]) == 1, "a redelivery schedules nothing twice, also when the time is over"


async def test_events_of_a_serialised_class_wait_for_its_writers(stage: Stage, ways: Ways, log: Log) -> None:
    events = await stage.idle()
    events.runtime.make_drains()
    assert events.runtime.scheduler is not None
    await events.publish(Counted(item=1, number=2), delay=60)
    await events.publish(Sold(item=1, number=3), delay=60)
    await stage.rows("UPDATE events.scheduled_event SET due_at = clock_timestamp()")
    async with ways["AsyncConnection"]() as line:
        await line.publish(Counted(item=1, number=1))
        assert await events.runtime.scheduler.move(full=True) == 1, "others do not"
        await line.commit()
    assert await events.runtime.scheduler.move(full=True) == 1
    assert await log.numbers() == [1, 3, 2]
