"""What keeps handlers from being called must not outlast its cause, nor cost anything where it does not matter."""

import asyncio

import asyncpg
import pytest

from fastapi_events import Breaker, Module, Retry, fixed
from fastapi_events.model.outcome import Outcome
from tests.delivery.stage import SLOW, Pinged, Placed, Stage, publish, until, within


def fragile(calls: list[int], down: list[bool], breaker: Breaker | bool = True) -> Module:
    module = Module("shop")
    chosen = Breaker(2, recovery=3600) if breaker is True else breaker

    @module.on(Placed, id="shop.fragile", breaker=chosen or False, retry=Retry(3, fixed(0)))
    async def handle(event: Placed) -> None:
        if down:
            raise ValueError("no answer")
        calls.append(event.number)

    return module


async def opened(stage: Stage, module: Module) -> None:
    """Leave the breaker of the module's handler open."""
    events = await stage.idle(module)
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await within(events.drain_once())
    assert await stage.value("SELECT opened_at IS NOT NULL FROM events.breaker")


async def test_a_process_without_the_handler_is_not_concerned(stage: Stage) -> None:
    await opened(stage, fragile([], [True]))
    module = Module("other")

    @module.on(Pinged)
    async def handle(event: Pinged) -> None: ...

    other = await stage.idle(module)
    assert (other.runtime.gates.closed, other.runtime.gates.next_probe) == ({}, None)


async def test_a_handler_that_has_no_breaker_any_more_is_called_again(stage: Stage) -> None:
    calls: list[int] = []
    await opened(stage, fragile([], [True]))
    await stage.instances[0].stop()
    later = await stage.idle(fragile(calls, [], breaker=False))
    await within(later.runtime.gates.written())
    await within(later.drain_once())
    assert sorted(calls) == [0, 1, 2]
    assert await stage.value("SELECT opened_at IS NULL FROM events.breaker")


async def test_a_breaker_that_cannot_be_written_keeps_nobody_out(stage: Stage) -> None:
    calls, down = list[int](), [True]
    events = await stage.running(fragile(calls, down))
    locker = await asyncpg.connect(stage.url)
    lock = locker.transaction()
    await lock.start()
    await locker.execute("LOCK TABLE events.breaker IN EXCLUSIVE MODE")
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await until(lambda: events.runtime.gates.closed)
    await within(events.runtime.gates.written(), 60)
    down.clear()
    await lock.rollback()
    await locker.close()
    await until(lambda: sorted(calls) == [0, 1, 2])


async def test_a_resume_that_is_held_up_behind_another_change_is_noticed(stage: Stage) -> None:
    seen: list[int] = []
    module = fragile([], [True], Breaker(1, recovery=3600))

    @module.on(Pinged, id="shop.paused")
    async def handle(event: Pinged) -> None:
        seen.append(event.number)

    events = await stage.running(module, **SLOW)
    operators = await stage.idle(module)
    await operators.operations.pause(handler="shop.paused", actor="me")
    await until(lambda: events.runtime.gates.closed)
    await events.publish(Pinged(number=1))
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.delivery"))
    locker = await asyncpg.connect(stage.url)
    lock = locker.transaction()
    await lock.start()
    await locker.execute("LOCK TABLE events.operator_action IN EXCLUSIVE MODE")
    resuming = asyncio.create_task(operators.operations.resume(handler="shop.paused", actor="me"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await until(lambda: stage.value(f"{waiting} AND query LIKE '%operator_action%'"), "the resume that waits")
    await events.publish(Placed(order="a"))  # its handler's breaker opens: the next revision
    await until(lambda: "breaker_open" in events.runtime.gates.closed.values())
    await lock.rollback()
    await locker.close()
    assert await within(resuming)
    await until(lambda: seen == [1])


async def test_a_pause_holds_for_what_waits_in_a_claimed_key(stage: Stage) -> None:
    module, calls, failing = Module("shop"), [], [True]
    reached, go = asyncio.Event(), asyncio.Event()

    @module.on(Placed, id="shop.one", retry=Retry(5, fixed(0)))
    async def handle(event: Placed) -> None:
        if failing:
            failing.pop()
            raise ValueError("no")
        calls.append(event.number)
        if event.number == 0:
            reached.set()
            await go.wait()

    events = await stage.running(module)
    await publish(events, [Placed(order="a", number=number) for number in range(5)])
    await within(reached.wait())
    await events.operations.pause(handler="shop.one", actor="me")
    await until(lambda: events.runtime.gates.closed)
    go.set()
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.delivery WHERE state = 'done'"))
    assert calls == [0]
    await events.operations.resume(handler="shop.one", actor="me")
    await until(lambda: calls == [0, 1, 2, 3, 4])


async def test_a_probe_is_not_spent_on_a_paused_lane(stage: Stage) -> None:
    await opened(stage, fragile([], [True]))
    [events] = stage.instances
    await events.operations.pause(lane="change", actor="me")
    await until(lambda: events.runtime.gates.paused_lanes)
    await stage.rows("UPDATE events.breaker SET probe_at = clock_timestamp() - interval '1 s'")
    await within(events.drain_once())
    assert await stage.value("SELECT probe_at < clock_timestamp() FROM events.breaker")


async def test_a_stop_gives_its_grace_to_what_is_detached_meanwhile(stage: Stage) -> None:
    module, begun, go, calls = Module("shop"), asyncio.Event(), asyncio.Event(), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        calls.append(event.number)
        begun.set()
        await go.wait()

    events = await stage.running(module, inline_budget=0.1, shutdown_grace=30.0)
    await events.publish(Placed(order="a"))
    await within(begun.wait())
    stopping = asyncio.create_task(events.stop())
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.delivery WHERE reason = 'detached'"))
    go.set()
    await within(stopping, 20)
    assert await stage.value("SELECT state = 'done' AND attempts = 1 FROM events.delivery")
    assert calls == [0]


async def test_who_fails_after_the_end_of_its_process_writes_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    events = await stage.running(fragile([], [True]))
    gates, handler = events.runtime.gates, next(iter(events.runtime.plan.by_number.values()))
    await events.stop()
    caplog.clear()
    gates.note(handler, Outcome("retry"))
    await within(gates.written())
    assert caplog.messages == []
