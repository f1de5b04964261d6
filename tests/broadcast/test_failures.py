"""What goes wrong with broadcast handlers: told once, counted, and nobody else's business."""

import asyncio
import logging
import threading
from typing import Annotated, Any

import asyncpg
import pytest
from fastapi import Depends

from fastapi_events import DeadLetter, Discard, EventPublisher, Module, RetryLater, SyncEventPublisher
from fastapi_events.engine.broadcasting import feed, reading
from tests.broadcast.test_hearing import hearing, numbered
from tests.delivery.proxy import Proxy
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, publish, until, within


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@pytest.mark.parametrize("error", [KeyError("x"), RetryLater(1), DeadLetter("no"), SystemExit(1)])
async def test_a_failure_is_logged_and_counted_and_that_is_it(
    stage: Stage, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    module, calls = Module("shop"), list[int]()

    @module.on(Placed, broadcast=True)
    async def fails(event: Placed) -> None:
        calls.append(event.number)
        if event.number == 1:
            raise error

    events = await stage.idle(module, enabled=False)
    await numbered(events, 1, 2)
    await events.drain_once()
    await events.drain_once()
    assert calls == [1, 2]
    assert events.runtime.counters.broadcast_failures == 1
    [line] = lines(caplog)
    assert line.startswith("broadcast handler shop.fails failed for shop.order.placed ")
    assert type(error).__name__ in line
    assert await stage.deliveries() == []


async def test_a_discarded_event_is_no_failure(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    module = Module("shop")

    @module.on(Placed, broadcast=True)
    async def wants_none(event: Placed) -> None:
        raise Discard("not mine")

    events = await stage.idle(module, enabled=False)
    with caplog.at_level(logging.INFO, logger="fastapi_events"):
        await numbered(events, 1)
        await events.drain_once()
    assert events.runtime.counters.broadcast_failures == 0
    assert any("not mine" in line for line in lines(caplog, logging.INFO))


async def test_the_process_tells_operators_of_failures(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, broadcast=True)
    async def fails(event: Placed) -> None:
        raise ValueError

    events = await stage.idle(module, heartbeat=0.05)
    await numbered(events, 1)

    async def told() -> Any:
        [worker] = await events.observe.workers()
        return worker.broadcasts, worker.broadcast_failures

    await until(lambda: _is(told(), (1, 1)))
    [view] = await events.observe.broadcasts()
    assert (view.name, view.selects, view.processes, view.audit) == ("shop.fails", "shop.order.placed", 1, False)


async def _is(awaitable: Any, wanted: Any) -> bool:
    return bool(await awaitable == wanted)


async def test_one_key_is_in_order_and_holds_up_no_other(stage: Stage) -> None:
    module, started, done, gate = Module("shop"), list[int](), list[int](), asyncio.Event()

    @module.on(Placed, broadcast=True)
    async def waits(event: Placed) -> None:
        started.append(event.number)
        if event.number == 1:
            await gate.wait()
        done.append(event.number)

    events = await stage.idle(module, **SLOW)
    await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2), Placed(order="b", number=3)])
    await until(lambda: done == [3])
    await numbered(events, 4)
    await numbered(events, 5, order="b")
    await until(lambda: done == [3, 5])
    assert sorted(started) == [1, 3, 5]
    gate.set()
    await until(lambda: done == [3, 5, 1, 2, 4])


async def test_unordered_handlers_run_at_once(stage: Stage) -> None:
    module, gate, running = Module("shop"), asyncio.Event(), list[int]()

    @module.on(Placed, broadcast=True, ordered=False)
    async def waits(event: Placed) -> None:
        running.append(event.number)
        await gate.wait()

    events = await stage.idle(module, **SLOW)
    await numbered(events, 1, 2, 3)
    await until(lambda: running == [1, 2, 3])
    gate.set()


async def test_a_slow_handler_holds_up_no_other_until_it_is_far_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "ROOM", 5)
    seen: list[int] = []
    slow, gate = Module("slow"), asyncio.Event()

    @slow.on(Placed, broadcast=True)
    async def waits(event: Placed) -> None:
        await gate.wait()

    events = await stage.idle(hearing(seen), slow, batch_size=1, **SLOW)
    for number in range(20):
        await numbered(events, number)
    await until(lambda: seen == list(range(5)))
    assert len([feed for feed in events.runtime.broadcasts._feeds if len(feed._waiting) == 5]) == 1
    gate.set()
    await until(lambda: seen == list(range(20)), "the rest, which had been left in the log")


async def test_no_more_run_at_once_than_the_limit(stage: Stage) -> None:
    module, running, most, gate = Module("shop"), set[int](), list[int](), asyncio.Event()

    @module.on(Pinged, broadcast=True)
    async def waits(event: Pinged) -> None:
        running.add(event.number)
        most.append(len(running))
        await gate.wait()
        running.discard(event.number)

    concurrency = {"events_inbound": 1, "events_change": 1, "events_outbound": 1}
    events = await stage.idle(module, concurrency=concurrency, **SLOW)
    await publish(events, [Pinged(number=number) for number in range(10)])
    await until(lambda: len(running) == 3)
    gate.set()
    await until(lambda: len(most) == 10)
    assert max(most) == 3


async def test_a_handler_that_hangs_is_given_up(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, broadcast=True, timeout=0.05)
    async def hangs(event: Placed) -> None:
        while event.number == 1:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                break
        seen.append(event.number)

    events = await stage.idle(module, enabled=False)
    await numbered(events, 1, 2)
    await within(events.drain_once())
    assert 2 in seen
    assert any("time-out of 0.05 s" in line for line in lines(caplog))


async def test_def_handlers_and_dependencies(stage: Stage) -> None:
    module, seen = Module("shop"), list[Any]()

    def cache() -> dict[str, str]:
        return {"a": "stale"}

    @module.on(Placed, broadcast=True)
    def plain(event: Placed, cached: Annotated[dict[str, str], Depends(cache)]) -> None:
        seen.append((cached, threading.current_thread() is threading.main_thread()))

    events = await stage.idle(module, enabled=False)
    await numbered(events, 1)
    await events.drain_once()
    assert seen == [({"a": "stale"}, False)]


@pytest.mark.parametrize("kind", [EventPublisher, SyncEventPublisher])
async def test_what_a_handler_publishes_commits_when_it_succeeds(stage: Stage, kind: type[Any]) -> None:
    heard: list[int] = []

    def publishing() -> Module:
        module = Module("web")

        async def tells(event: Placed, publish: Any) -> None:
            told = publish(Shipped(order=event.order, number=event.number))
            if kind is EventPublisher:
                await told
            if event.number == 1:
                raise ValueError

        def tells_in_a_thread(event: Placed, publish: Any) -> None:
            publish(Shipped(order=event.order, number=event.number))
            if event.number == 1:
                raise ValueError

        handler: Any = tells if kind is EventPublisher else tells_in_a_thread
        handler.__annotations__["publish"] = kind
        module.on(Placed, id="web.tells", broadcast=True)(handler)
        return module

    first = await stage.idle(publishing(), enabled=False)
    second = await stage.idle(publishing(), hearing(heard, Shipped), enabled=False)
    await numbered(first, 1, 2)
    await first.drain_once()
    await second.drain_once()
    rows = await stage.rows("SELECT id, causation_id, depth FROM events.event WHERE name = 'shop.order.shipped'")
    assert len({row["id"] for row in rows}) == len(rows) == 2, "each process published an event of its own"
    assert {row["depth"] for row in rows} == {1}
    assert heard == [2, 2]


async def test_events_that_cannot_be_committed_are_a_failure(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Module("web")

    @module.on(Placed, broadcast=True)
    async def tells(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order="b"))

    events = await stage.idle(module, enabled=False)

    async def refuse(*_: Any) -> None:
        raise asyncpg.DiskFullError("no space left")

    monkeypatch.setattr(events.runtime.log, "append_alone", refuse)
    await numbered(events, 1)
    await events.drain_once()
    assert events.runtime.counters.broadcast_failures == 1
    assert any("DiskFullError" in line for line in lines(caplog))


async def test_at_the_end_running_handlers_finish_and_the_rest_is_dropped(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    module, gate, running, done = Module("shop"), asyncio.Event(), list[int](), list[int]()

    @module.on(Placed, broadcast=True)
    async def waits(event: Placed) -> None:
        running.append(event.number)
        await gate.wait()
        done.append(event.number)

    events = await stage.idle(module, shutdown_grace=30.0, **SLOW)
    await numbered(events, 1, 2, 3)
    await until(lambda: running == [1])
    with caplog.at_level(logging.INFO, logger="fastapi_events"):
        broadcasts = events.runtime.broadcasts
        stopping = asyncio.create_task(events.stop())
        await until(broadcasts.stopping.is_set)
        gate.set()
        await within(stopping, 10)
    assert (running, done) == ([1], [1])
    assert "broadcast handler shop.waits: 2 event(s) dropped, the process stops" in lines(caplog, logging.INFO)


async def test_after_the_grace_a_handler_is_cut_off(stage: Stage) -> None:
    module, started, cut = Module("shop"), asyncio.Event(), list[str]()

    @module.on(Placed, broadcast=True)
    async def waits(event: Placed) -> None:
        started.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            cut.append("cancelled")
            raise

    events = await stage.idle(module, shutdown_grace=0.05, **SLOW)
    await numbered(events, 1)
    await started.wait()
    await within(events.stop(), 10)
    assert cut == ["cancelled"]


class Gate(Proxy):
    """A proxy that can be shut."""

    open = True

    def close(self) -> None:
        self.open = False
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open:
            await super()._serve(reader, writer)
        else:
            writer.close()


async def test_a_lost_connection_costs_no_event(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    publisher = await stage.idle(notify="off")
    async with Gate(stage.url) as gate:
        events = stage.make(hearing(seen), database_url=gate.url, poll_interval=0.1)
        await events.start(drains=False)
        await numbered(publisher, 1)
        await until(lambda: seen == [1])
        gate.close()
        await numbered(publisher, 2, 3)
        await until(lambda: events.runtime.broadcasts.failing, "a look that failed")
        health = [loop.trouble for loop in events.runtime.handling]
        assert health[0]
        gate.open = True
        await until(lambda: seen == [1, 2, 3])
        await events.stop()
    assert not [line for line in lines(caplog) if "restarted" in line or "skipped" in line]


async def test_a_batch_that_takes_too_long_to_read_is_made_smaller(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    events = await stage.idle(hearing(seen), enabled=False)
    broadcasts, sizes = events.runtime.broadcasts, list[int]()
    read = broadcasts._tail.read

    async def slow(size: int, where: Any = None) -> Any:
        sizes.append(size)
        if size > 400:
            raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")
        return await read(size, where)

    monkeypatch.setattr(broadcasts._tail, "read", slow)
    await numbered(events, 1)
    with pytest.raises(asyncpg.QueryCanceledError):
        await broadcasts.look()
    await events.drain_once()
    assert seen == [1]
    small = 500 // reading.SHRINK
    assert sizes[:3] == [500, small, 2 * small]
