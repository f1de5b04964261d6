"""Broadcast handlers: every process hears of every event once, from its start on, and of nothing else."""

import asyncio
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest

from fastapi_events import Delivery, Event, Module, RawEvent
from fastapi_events.engine import listener
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, publish, until

PROCESS = """
import asyncio, sys
from fastapi_events import Event, Events, EventsSettings
class Placed(Event, name="shop.order.placed", aggregate_id="order"):
    order: str
    number: int
events = Events(settings=EventsSettings(database_url=sys.argv[1], worker="standalone"))
seen = []
@events.on(Placed, broadcast=True)
async def hear(event: Placed) -> None:
    seen.append(event.number)
    if event.number < 0:
        done.set()
async def main():
    global done
    done = asyncio.Event()
    await events.start()
    print("started", flush=True)
    await asyncio.wait_for(done.wait(), 60)
    await events.stop()
    print(*seen, flush=True)
asyncio.run(main())
"""


def hearing(seen: list[Any], *events: type[Event], **options: Any) -> Module:
    """A module with a broadcast handler that notes the numbers of these events."""
    module = Module("shop")
    for event in events or (Placed,):

        @module.on(event, id=f"shop.hear_{event.__name__}", broadcast=True, **options)
        async def hear(event: Any) -> None:
            seen.append(event.number)

    return module


async def numbered(events: Any, *numbers: int, order: str = "a") -> None:
    await publish(events, [Placed(order=order, number=number) for number in numbers])


@pytest.mark.parametrize("notify", ["after_commit", "transactional"])
async def test_every_instance_hears_of_every_event_once(stage: Stage, notify: str) -> None:
    seen: list[list[int]] = [[], [], []]
    worker = await stage.running(hearing(seen[0]), notify=notify, **SLOW)
    web = await stage.idle(hearing(seen[1]), notify=notify, worker="standalone", **SLOW)
    await stage.running(hearing(seen[2]), group="another", notify=notify, **SLOW)
    for number in range(20):
        await numbered((worker, web)[number % 2], number)
    await until(lambda: all(numbers == list(range(20)) for numbers in seen))
    await asyncio.gather(*(events.drain_once() for events in stage.instances))
    assert seen == [list(range(20))] * 3, "looked through once more, nobody hears of anything twice"


async def test_two_processes_that_only_publish_hear_each_other(stage: Stage) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, stage.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = [process.stdout for process in processes if process.stdout is not None]
    assert [await output.readline() for output in outputs] == [b"started\n"] * 2
    publisher = await stage.idle()
    await numbered(publisher, 1, 2, 3)
    await numbered(publisher, -1)
    told = [await process.communicate() for process in processes]
    assert [out.decode().split() for out, _ in told] == [["1", "2", "3", "-1"]] * 2, told


async def test_what_was_committed_before_the_start_is_not_heard_and_the_next_commit_is(stage: Stage) -> None:
    seen: list[int] = []
    publisher = await stage.idle()
    await numbered(publisher, 1, 2)
    events = await stage.idle(hearing(seen), **SLOW)
    await numbered(publisher, 3)
    await events.drain_once()
    assert seen == [3]


async def test_who_commits_late_is_heard_whatever_its_position(stage: Stage) -> None:
    seen: list[int] = []
    publisher = await stage.idle(notify="off")
    async with publisher.session() as late, publisher.session() as later:
        await publisher.publisher(late)(Placed(order="late", number=1), event_id=uuid4())  # inserted at once
        events = await stage.idle(hearing(seen), notify="off", **SLOW)
        await numbered(publisher, 2)
        await events.drain_once()
        await publisher.publisher(later)(Placed(order="later", number=3), event_id=uuid4())
        await numbered(publisher, 4)
        await events.drain_once()
        assert seen == [2, 4]
        await late.commit()
        await events.drain_once()
        await later.commit()
        await events.drain_once()
    assert seen == [2, 4, 1, 3]


async def test_a_wildcard_hears_of_its_names_alone(stage: Stage) -> None:
    seen: list[str] = []
    module = Module("shop")

    @module.on("shop.order.*", broadcast=True)
    async def orders(event: Event | RawEvent) -> None:
        seen.append(f"orders {type(event).__name__}")

    @module.on("*.*.pinged", broadcast=True)
    async def pings(event: RawEvent) -> None:
        seen.append(f"pings {event.name} {event.payload['number']}")

    events = await stage.idle(module, enabled=False)
    await publish(events, [Placed(order="a"), Pinged(number=7), Shipped(order="a")])
    await events.drain_once()
    assert sorted(seen) == ["orders Placed", "orders Shipped", "pings shop.page.pinged 7"]


async def test_without_notifications_polling_finds_it(stage: Stage) -> None:
    seen: list[int] = []
    await stage.idle(hearing(seen), notify="off", poll_interval=0.1)
    publisher = await stage.idle(notify="off")
    await numbered(publisher, 1)
    await until(lambda: seen == [1])


async def test_while_listen_is_lost_polling_serves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    events = await stage.idle(hearing(seen), poll_interval=0.5, poll_interval_degraded=0.1)
    publisher = await stage.idle(notify="off")
    assert events.runtime.wake_up == "listening"

    async def refuse(self: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(listener.Listener, "_listen", refuse)
    await stage.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE 'LISTEN%'"
    )
    await until(lambda: events.runtime.wake_up == "polling")
    await numbered(publisher, 1)  # nobody is told
    await until(lambda: seen == [1])


async def test_disabled_processes_hear_nothing_by_themselves(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(hearing(seen), enabled=False, poll_interval=0.05)
    assert events.runtime.wake_up == "off"
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "fastapi_events:broadcast handlers"]
    await numbered(events, 1)
    assert seen == []
    await events.drain_once()
    assert seen == [1], "drain_once() is somebody's own wish"


async def test_nothing_runs_where_nobody_broadcasts(stage: Stage) -> None:
    events = await stage.running(Module("shop"))
    assert events.runtime.broadcasts is None
    assert events.runtime.wake.log is None


async def test_delivery_tells_of_the_event(stage: Stage) -> None:
    seen: list[Delivery] = []
    module = Module("shop")

    @module.on(Placed, broadcast=True)
    async def hear(event: Placed, delivery: Delivery) -> None:
        seen.append(delivery)

    events = await stage.idle(module, enabled=False)
    published = await events.publish(Placed(order="a"), headers={"colour": "red"})
    await events.drain_once()
    [delivery] = seen
    assert (delivery.event_id, delivery.attempt, delivery.redelivered) == (published.event_id, 1, False)
    assert delivery.headers["colour"] == "red"


async def test_the_group_knows_nothing_of_them(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(hearing(seen, ordered=False))
    await numbered(events, 1)
    await until(lambda: seen == [1])
    await events.drain_once()
    assert await stage.rows("SELECT FROM events.handler") == []
    assert await stage.deliveries() == []
    assert await stage.rows("SELECT FROM events.success_batch") == []
