"""A process's own place in the log: read in batches, bounded, and given up only where it means nothing any more."""

import logging
from dataclasses import replace
from itertools import chain
from typing import Any
from uuid import uuid4

import pytest

from fastapi_events.model.names import matches, regular_expression
from fastapi_events.store.tail import Interest, Tail
from tests.broadcast.test_failures import lines
from tests.broadcast.test_hearing import hearing, numbered
from tests.delivery.stage import SLOW, Pinged, Placed, Stage, publish, until


async def test_a_backlog_is_read_in_batches_in_the_order_of_each_key(stage: Stage) -> None:
    seen: dict[str, list[int]] = {}
    module = hearing([])

    @module.on(Placed, id="shop.by_key", broadcast=True)
    async def by_key(event: Placed) -> None:
        seen.setdefault(event.order, []).append(event.number)

    events = await stage.idle(module, enabled=False, batch_size=7)
    sizes: list[int] = []
    tail = events.runtime.broadcasts._tail
    read = tail.read

    async def measured(size: int, where: Any = None) -> Any:
        stretch = await read(size, where)
        sizes.append(len(stretch.rows))
        return stretch

    tail.read = measured
    for start in range(0, 200, 50):
        await publish(events, [Placed(order=str(n % 5), number=n) for n in range(start, start + 50)])
        await publish(events, [Pinged(number=n) for n in range(20)])
    await events.drain_once()
    assert {key: sorted(numbers) for key, numbers in seen.items()} == seen
    assert sorted(chain(*seen.values())) == list(range(200))
    assert max(sizes) <= 32, "one of each partition at least, and otherwise the batch"
    assert len(sizes) > 10


async def test_late_commits_of_several_transactions_are_all_read_in_small_batches(stage: Stage) -> None:
    seen: list[int] = []
    publisher = await stage.idle(notify="off")
    sessions = [publisher.session() for _ in range(4)]
    for number, session in enumerate(sessions):
        for offset in range(5):
            event = Placed(order=str(number), number=100 * number + offset)
            await publisher.publisher(session)(event, event_id=uuid4())
    events = await stage.idle(hearing(seen), enabled=False, batch_size=2)
    await numbered(publisher, *range(1000, 1020), order="z")
    for session in (sessions[2], sessions[0]):
        await session.commit()
    await events.drain_once()
    for session in (sessions[1], sessions[3]):
        await session.commit()
    await events.drain_once()
    assert sorted(seen) == sorted([100 * n + o for n in range(4) for o in range(5)] + list(range(1000, 1020)))
    for key in range(4):
        own = [number for number in seen if number // 100 == key]
        assert own == sorted(own)
    for session in sessions:
        await session.close()


async def test_who_is_too_far_behind_skips_the_oldest_and_says_so(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    events = await stage.idle(hearing(seen), enabled=False, broadcast_backlog=10)
    first = await stage.value("SELECT last_value FROM events.event_position")
    await numbered(events, *range(30))
    await events.drain_once()
    assert seen == list(range(20, 30))
    assert events.runtime.counters.broadcast_skipped == 20
    [line] = lines(caplog)
    assert f"positions {first + 1} to {first + 20} may have been skipped" in line
    await numbered(events, 30)
    await events.drain_once()
    assert seen == list(range(20, 31))
    assert len(lines(caplog)) == 1


async def test_a_transaction_that_commits_late_is_not_far_behind(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    publisher = await stage.idle(notify="off")
    async with publisher.session() as late:
        await publisher.publisher(late)(Placed(order="late", number=1), event_id=uuid4())
        events = await stage.idle(hearing(seen), enabled=False, broadcast_backlog=10)
        for number in range(30):
            await numbered(publisher, 100 + number)
            await events.drain_once()
        await late.commit()
    await events.drain_once()
    assert seen == [*range(100, 130), 1]
    assert lines(caplog) == []


async def tail_of(stage: Stage, **changes: Any) -> Tail:
    events = await stage.idle()
    runtime = events.runtime
    options: dict[str, Any] = {"lanes": [1], "partitions": 32, "interest": Interest(("shop.order.placed",))}
    tail = Tail(runtime.database, runtime.statements, **{**options, "backlog": 1000, **changes})
    await tail.begin()
    return tail


async def test_a_restarted_server_is_told_of_and_read_on_from(stage: Stage) -> None:
    tail = await tail_of(stage)
    tail._life = "another one"
    # A crash takes back positions that no committed row has; they are given out again.
    for place, reach in tail._reaches.items():
        tail._reaches[place] = replace(reach, floor=reach.floor + 50, next_floor=reach.next_floor + 50)
    await numbered(stage.instances[0], 1)
    stretch = await tail.read(100)
    assert (stretch.restart, len(stretch.rows)) == ("read_on", 1)
    assert (await tail.read(100)).restart is None


@pytest.mark.parametrize("what", ["set back", "another cluster"])
async def test_a_server_that_was_set_back_or_replaced_is_followed_from_now(stage: Stage, what: str) -> None:
    tail = await tail_of(stage)
    publisher = stage.instances[0]
    if what == "set back":
        future = int(await stage.value("SELECT pg_current_xact_id()::text::bigint")) + 1_000_000
        for place, reach in tail._reaches.items():
            tail._reaches[place] = replace(reach, seen=f"{future}:{future}:")
    else:
        tail._cluster += 1
    tail._life = "another one"
    await numbered(publisher, 1)
    stretch = await tail.read(100)
    assert (stretch.restart, stretch.rows) == ("from_now", [])
    await numbered(publisher, 2)
    stretch = await tail.read(100)
    assert stretch.restart is None
    assert [row["payload"] for row in stretch.rows] == ['{"order": "a", "number": 2}']


async def test_both_are_in_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    events = await stage.idle(hearing(seen), enabled=False)
    tail = events.runtime.broadcasts._tail
    tail._life = "another one"
    await numbered(events, 1)
    await events.drain_once()
    tail._life, tail._cluster = "another one", tail._cluster + 1
    await numbered(events, 2)
    await events.drain_once()
    assert seen == [1]
    told = lines(caplog, logging.WARNING)
    assert ["was restarted" in told[0], "goes on from now" in told[1]] == [True, True]


async def test_hints_that_anybody_may_forge_do_no_harm(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(hearing(seen), **SLOW)
    channel = events.runtime.channel
    for hint in ("9.9999", "3.1", "7", "k", "", "1.0,2.5,nonsense", "x" * 500):
        await stage.rows("SELECT pg_notify($1, $2)", channel, hint)
    publisher = await stage.idle()
    await numbered(publisher, 1)
    await until(lambda: seen == [1])
    assert events.runtime.broadcasts.trouble is None


@pytest.mark.parametrize(
    "pattern", ["orders.*", "*.order.*", "*", "orders.*.placed", "*.*.placed", "orders.order.placed"]
)
@pytest.mark.parametrize(
    "name",
    ["orders.order.placed", "orders.placed", "orders.order.line.placed", "mail.order.sent", "xorders.order.placed"],
)
async def test_the_server_understands_wildcards_as_python_does(stage: Stage, pattern: str, name: str) -> None:
    expression = regular_expression(pattern)
    assert await stage.value("SELECT $1::text ~ $2::text", name, expression) == matches(pattern, name)
