"""A worker that has lost its lease, its key or its life changes nothing any more."""

import asyncio
from typing import Any

from fastapi_events import Delivery, Events, HandlerSession, Module, Retry, fixed
from tests.delivery.stage import Placed, Stage, effect, publish, until, within

EXPIRE_LANES = """
    INSERT INTO events.cursor_log
    SELECT group_id, lane, partition, seq + 1, seen, target, position, floor, remaining,
           clock_timestamp() - interval '1 s', worker_id
    FROM (SELECT DISTINCT ON (group_id, lane, partition) * FROM events.cursor_log
          ORDER BY group_id, lane, partition, seq DESC) newest
    WHERE lease_until IS NOT NULL
"""
"""As if a lease had run out: rows of the cursors are never changed, so a newer one says so, as a taker's would."""

EXPIRE_KEYS = "UPDATE events.parked_key SET due_at = clock_timestamp() - interval '1 s' WHERE worker_id IS NOT NULL"


class Gate:
    """Lets a handler stop on its way, once."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await self.go.wait()


def stale(events: Events) -> int:
    return events.runtime.counters.stale_settles


async def test_a_worker_whose_partition_was_taken_over_settles_nothing_and_is_counted(stage: Stage) -> None:
    gate, seen = Gate(), []

    def shop(name: str, *, gated: bool) -> Module:
        module = Module("shop")

        @module.on(Placed, retry=Retry(1))
        async def handle(event: Placed, delivery: Delivery) -> None:
            if gated:
                await gate.wait()
                seen.append((name, delivery.redelivered))
                raise ValueError("the zombie's failure shall not count")
            seen.append((name, delivery.redelivered))

        return module

    zombie = await stage.idle(shop("zombie", gated=True), heartbeat=2.0, lease=5.0)
    heir = await stage.idle(shop("heir", gated=False))
    await publish(zombie, [Placed(order="a", number=1)])
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    await stage.rows(EXPIRE_LANES)
    assert await heir.drain_once() == 1
    before = await stage.value("SELECT count(*) FROM events.cursor_log")
    gate.go.set()
    await within(working)
    assert seen == [("heir", True), ("zombie", False)]
    assert stale(zombie) == 1
    assert await stage.deliveries() == []
    assert await stage.value("SELECT count(*) FROM events.cursor_log") == before
    assert await stage.value("SELECT count(*) FROM events.attempt") == 0
    assert await stage.value("SELECT sum(cardinality(positions)) FROM events.success_batch") == 1


async def test_a_zombies_transaction_waits_for_the_heirs_mark_and_leaves_no_second_effect(stage: Stage) -> None:
    gate = Gate()

    def shop(*, gated: bool) -> Module:
        module = Module("shop")

        @module.on(Placed)
        async def handle(event: Placed, session: HandlerSession) -> None:
            if gated:
                await gate.wait()
            await effect(session, "zombie" if gated else "heir", event.number)

        return module

    zombie = await stage.idle(shop(gated=True), heartbeat=2.0, lease=5.0)
    heir = await stage.idle(shop(gated=False))
    await publish(zombie, [Placed(order="a", number=1)])
    first = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    await stage.rows(EXPIRE_LANES)
    second = asyncio.create_task(heir.drain_once())
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until(lambda: stage.value(waiting), "the heir at the zombie's mark")
    gate.go.set()
    await within(asyncio.gather(first, second))
    assert [row["handler"] for row in await stage.rows("SELECT handler FROM effect")] == ["zombie"]
    assert await stage.deliveries() == []


async def test_leases_are_extended_while_a_handler_runs_so_that_nobody_takes_over(stage: Stage) -> None:
    gate, seen = Gate(), []
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        await gate.wait()
        seen.append(event.number)

    slow = await stage.idle(module, lease=0.6, heartbeat=0.1)
    other = await stage.idle(module, lease=0.6, heartbeat=0.1)
    await publish(slow, [Placed(order="a", number=1)])
    working = asyncio.create_task(slow.drain_once())
    await within(gate.reached.wait())
    renewals = await stage.value("SELECT max(seq) FROM events.cursor_log")
    for _ in range(4):
        await until(lambda: more_than(stage, renewals))  # noqa: B023
        renewals = await stage.value("SELECT max(seq) FROM events.cursor_log")
        assert await other.drain_once() == 0
    gate.go.set()
    await within(working)
    assert (seen, stale(slow)) == ([1], 0)


async def more_than(stage: Stage, seq: int) -> bool:
    return int(await stage.value("SELECT max(seq) FROM events.cursor_log")) > seq


async def parked(stage: Stage, gate: Gate, seen: list[Any], heartbeat: float = 2.0) -> tuple[Events, Events]:
    """Two instances, and one key whose head waits for its second attempt."""
    broken = [True]

    def shop(name: str) -> Module:
        module = Module("shop")

        @module.on(Placed, retry=Retry(3, fixed(0)))
        async def handle(event: Placed, delivery: Delivery) -> None:
            if broken[0]:
                broken[0] = False
                raise ValueError("not yet")
            if name == "zombie":
                await gate.wait()
                seen.append((name, event.number))
                raise ValueError("the zombie's failure shall not count")
            seen.append((name, event.number))

        return module

    zombie, heir = await stage.idle(shop("zombie"), heartbeat=heartbeat), await stage.idle(shop("heir"))
    await publish(zombie, [Placed(order="a", number=1)])
    zombie.runtime.make_drains()
    for loop in zombie.runtime.drain_loops:
        await loop.drain()
    assert [row["state"] for row in await stage.deliveries()] == ["waiting"]
    return zombie, heir


async def test_a_worker_whose_key_was_taken_over_settles_nothing_and_is_counted(stage: Stage) -> None:
    gate, seen = Gate(), []
    zombie, heir = await parked(stage, gate, seen)
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    await stage.rows(EXPIRE_KEYS)
    await heir.drain_once()
    [row] = await stage.deliveries()
    gate.go.set()
    await within(working)
    assert seen == [("heir", 1), ("zombie", 1)]
    assert await stage.deliveries() == [row]
    assert (row["state"], stale(zombie)) == ("done", 1)


async def test_a_heartbeat_does_not_revive_a_lost_key(stage: Stage) -> None:
    gate, seen = Gate(), []
    zombie, heir = await parked(stage, gate, seen)
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    assert zombie.runtime.redelivery is not None
    [claim] = zombie.runtime.redelivery.claims
    await stage.rows(EXPIRE_KEYS)
    assert heir.runtime.redelivery is None
    await heir.drain_once()
    before = await stage.rows("SELECT * FROM events.parked_key")
    store = zombie.runtime.store
    assert await store.beat(zombie.runtime.worker, 60.0, "polling", 0, [claim]) is not None
    assert await stage.rows("SELECT * FROM events.parked_key") == before
    gate.go.set()
    await within(working)


async def test_a_heartbeat_extends_the_keys_that_are_held(stage: Stage) -> None:
    gate, seen = Gate(), []
    zombie, heir = await parked(stage, gate, seen, heartbeat=0.1)
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    due = "SELECT due_at FROM events.parked_key"
    first = await stage.value(due)

    async def extended() -> bool:
        return bool(await stage.value(due) > first)

    await until(extended)
    assert await heir.drain_once() == 0
    gate.go.set()
    await within(working)


async def test_a_worker_that_was_taken_for_dead_enters_itself_again(stage: Stage) -> None:
    events = await stage.idle(Module("shop"))
    await stage.rows("DELETE FROM events.worker")
    await until(lambda: stage.value("SELECT count(*) FROM events.worker"), "the heartbeat")
    assert await stage.value("SELECT id FROM events.worker") == events.runtime.worker


async def test_a_key_that_got_a_newcomer_while_it_was_drained_stays_parked(stage: Stage) -> None:
    """The newcomer raises the version; whoever emptied the queue it had read must see that it did not."""
    gate, seen, broken = Gate(), [], [True]
    module = Module("shop")

    @module.on(Placed, retry=Retry(3, fixed(0)))
    async def handle(event: Placed) -> None:
        if broken[0]:
            broken[0] = False
            raise ValueError("not yet")
        await gate.wait()
        seen.append(event.number)

    first, second = await stage.idle(module), await stage.idle(module)
    await publish(first, [Placed(order="a", number=1)])
    first.runtime.make_drains()
    for loop in first.runtime.drain_loops:
        await loop.drain()
    working = asyncio.create_task(first.drain_once())
    await within(gate.reached.wait())
    await publish(second, [Placed(order="a", number=2)])
    await second.drain_once()
    assert [row["reason"] for row in await stage.deliveries()] == ["retry", "key_blocked"]
    gate.go.set()
    await within(working)
    assert seen == [1, 2]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}
