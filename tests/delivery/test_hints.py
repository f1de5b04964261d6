"""What a notification says: where to look first. It is never more than a hint."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastapi_events import Events, Module
from tests.delivery.stage import SLOW, Placed, Stage, collecting, publish, until, within


@contextlib.asynccontextmanager
async def heard(stage: Stage, events: Events) -> AsyncIterator[list[str]]:
    """What is sent on the channel meanwhile."""
    payloads: list[str] = []

    def note(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        payloads.append(str(payload))

    await stage.rows("SELECT 1")
    assert stage.connection is not None
    await stage.connection.add_listener(events.runtime.channel, note)
    yield payloads
    await stage.connection.remove_listener(events.runtime.channel, note)


async def partition_of_newest(stage: Stage) -> int:
    return int(await stage.value("SELECT partition FROM events.event ORDER BY position DESC LIMIT 1"))


def looks(events: Events) -> set[int]:
    """The partitions that the loop of lane 1 looks at from now on."""
    looked: set[int] = set()
    [cursors] = [loop._cursors for loop in events.runtime.drain_loops if loop._lane == 1]
    claim = cursors.claim

    async def noted(held: Any, size: int, *, free: Any, **more: Any) -> Any:
        batch = await claim(held, size, free=free, **more)
        looked.update(range(32) if free is None else free)
        return batch

    cursors.claim = noted
    return looked


async def settled(events: Events) -> None:
    """Return once the loops have done what they were woken for."""
    await until(lambda: not any(loop._flag.is_set() for loop in events.runtime.drain_loops))
    for loop in events.runtime.drain_loops:
        async with loop._one_at_a_time:
            pass


@pytest.mark.parametrize("notify", ["after_commit", "transactional"])
async def test_a_notification_names_the_partitions_of_what_was_committed(stage: Stage, notify: str) -> None:
    events = await stage.idle(notify=notify)
    async with heard(stage, events) as payloads:
        await events.publish(Placed(order="a", number=1))
        partition = await partition_of_newest(stage)
        await until(lambda: payloads == [f"1.{partition}"])


async def test_of_many_partitions_a_notification_names_the_lane_alone(stage: Stage) -> None:
    seen: list[int] = []
    await stage.running(collecting(seen), **SLOW)
    publisher = await stage.idle()
    async with heard(stage, publisher) as payloads:
        await publish(publisher, [Placed(order=f"order {number}", number=number) for number in range(100)])
        await until(lambda: sorted(seen) == list(range(100)))
        assert payloads == ["1"]


async def test_a_loop_looks_where_the_notification_says_and_not_elsewhere(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    publisher = await stage.idle(notify="off")
    await publisher.publish(Placed(order="a", number=1))
    partition = await partition_of_newest(stage)
    looked = looks(events)
    others = set(range(32)) - {partition}
    for other in others:
        await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, f"1.{other}")
    await until(lambda: looked == others)
    await settled(events)
    assert seen == []
    await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, f"1.{partition}")
    await until(lambda: seen == [1])


@pytest.mark.parametrize("payload", ["1", "", "0,1,2", "1.x", "1." + "9" * 60, "everything", "k,1"])
async def test_what_names_no_partition_stands_for_all(stage: Stage, payload: str) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    publisher = await stage.idle(notify="off")
    await settled(events)
    await publisher.publish(Placed(order="a", number=1))
    await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, payload)
    await until(lambda: seen == [1])


async def test_who_is_called_elsewhere_all_the_time_still_polls(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), poll_interval=0.3)
    publisher = await stage.idle(notify="off")
    await publisher.publish(Placed(order="a", number=1))
    elsewhere = f"1.{(await partition_of_newest(stage) + 1) % 32}"

    async def call() -> None:
        while True:
            await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, elsewhere)

    calling = asyncio.create_task(call())
    try:
        await until(lambda: seen == [1])
    finally:
        calling.cancel()


async def test_who_stops_tells_the_others_what_it_lets_go_of(stage: Stage) -> None:
    begun, may_end, seen = asyncio.Event(), asyncio.Event(), list[int]()
    module = Module("shop")

    @module.on(Placed)
    async def placed(event: Placed) -> None:
        begun.set()
        await may_end.wait()

    stopping = await stage.running(module, **SLOW)
    await stopping.publish(Placed(order="a", number=1))
    await within(begun.wait())
    other = await stage.running(collecting(seen), **SLOW)
    await settled(other)
    looked = looks(other)
    await other.publish(Placed(order="a", number=2))
    await until(lambda: looked)
    await settled(other)
    assert seen == []
    stop = asyncio.create_task(stopping.stop())
    await until(stopping.runtime.drain_loops[0].stopping.is_set)
    may_end.set()
    await within(stop)
    await until(lambda: seen == [2])


async def test_who_stops_tells_the_others_of_deliveries_that_it_has_interrupted(stage: Stage) -> None:
    begun, seen = asyncio.Event(), list[int]()
    module = Module("shop")

    @module.on(Placed)
    async def placed(event: Placed) -> None:
        begun.set()
        await asyncio.Event().wait()

    stopping = await stage.running(module, shutdown_grace=0.1, **SLOW)
    await stopping.publish(Placed(order="a", number=1))
    await within(begun.wait())
    other = await stage.running(collecting(seen), **SLOW)
    await settled(other)
    await within(stopping.stop())
    await until(lambda: seen == [1])
