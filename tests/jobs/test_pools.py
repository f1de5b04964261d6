"""How much a pool does at once is changed while processes run, in all of them, and holds until it is taken back."""

import asyncio
from typing import Any

import pytest

from fastapi_events import Events, JobContext, Module
from fastapi_events.errors import OperationRefused
from tests.delivery.stage import Pinged, Stage, publish, until


class Hall:
    """Where runs wait until they are let go; it counts how many are inside, and how many were at the most."""

    def __init__(self) -> None:
        self.inside = self.most = self.done = self.free = 0
        self.go_on = asyncio.Event()

    async def visit(self) -> None:
        if self.free:  # these pass through
            self.free -= 1
            return
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.go_on.wait()
            await asyncio.sleep(0)
        finally:
            self.inside -= 1
            self.done += 1


def module_of(hall: Hall, pool: str = "batch") -> Module:
    module = Module("shop")

    @module.job("shop.work", pool=pool)
    async def work(job: JobContext[None]) -> None:
        await hall.visit()

    @module.on(Pinged)
    async def pinged(event: Pinged) -> None:
        await hall.visit()

    return module


async def shown(events: Events, concurrency: int) -> bool:
    """Whether that is the number of all processes together."""
    return [pool.concurrency for pool in await events.observe.pools()] == [concurrency]


async def start(events: Events, number: int) -> None:
    await events.jobs.start_many(events.registry.jobs["shop.work"], [None] * number)


@pytest.mark.parametrize("told", [{"heartbeat": 25.0, "lease": 60.0}, {"notify": "off"}])
async def test_every_process_has_the_new_number(stage: Stage, told: dict[str, Any]) -> None:
    hall = Hall()
    one, two = [await stage.running(module_of(hall), concurrency={"batch": 1}, **told) for _ in range(2)]
    await start(one, 20)
    await until(lambda: hall.inside == 2)
    assert await one.operations.set_pool("batch", 4, actor="ada", reason="a long queue")
    await until(lambda: hall.inside == 8)
    await until(lambda: shown(two, 8))
    [pool] = await two.observe.pools()
    assert (pool.name, pool.concurrency, pool.set_to, pool.reserved) == ("batch", 8, 4, False)
    assert not await two.operations.set_pool("batch", 4, actor="ada")
    three = await stage.running(module_of(hall), concurrency={"batch": 1}, **told)
    await until(lambda: hall.inside == 12)
    [_, action] = await one.operations.actions(limit=2)
    assert (action.action, action.target, action.actor) == ("set_pool", "batch", "ada")
    assert action.details == {"concurrency": 4, "reason": "a long queue"}
    assert await three.operations.reset_pool("batch", actor="ada")
    hall.go_on.set()
    await until(lambda: hall.done == 20)
    await until(lambda: shown(two, 3))
    assert [pool.set_to for pool in await two.observe.pools()] == [None]
    assert not await two.operations.reset_pool("batch", actor="ada")


async def test_those_above_a_lower_number_are_finished_and_no_others_begun(stage: Stage) -> None:
    hall = Hall()
    events = await stage.running(module_of(hall), concurrency={"batch": 8})
    await start(events, 300)
    await until(lambda: hall.inside == 8)
    await events.operations.set_pool("batch", 2, actor="ada")
    await until(lambda: events.runtime.jobs.concurrency == {"batch": 2})
    assert hall.inside == 8
    hall.go_on.set()
    await until(lambda: hall.inside <= 2)
    hall.most = hall.inside
    await until(lambda: hall.done == 300)
    assert hall.most == 2


async def test_what_was_claimed_ahead_is_left_to_fewer_hands(stage: Stage) -> None:
    hall = Hall()
    hall.free = 500
    events = await stage.idle(module_of(hall))
    await start(events, 600)
    await events.stop()
    events = await stage.running(module_of(hall), concurrency={"batch": 8})
    await until(lambda: hall.inside == 8)
    [pool] = events.runtime.jobs.work.pools
    pool.concurrency, hall.most = 2, 0  # as it is told to, but while there is much in hand yet
    hall.go_on.set()
    await until(lambda: hall.done == 100)
    assert hall.most == 2


async def test_of_a_pool_of_ones_own_and_over_a_restart(stage: Stage) -> None:
    hall = Hall()
    events = await stage.running(module_of(hall, "reports"))
    await events.operations.set_pool("reports", 1, actor="ada")
    await events.stop()
    events = await stage.running(module_of(hall, "reports"))
    await start(events, 3)
    await until(lambda: hall.inside == 1)
    hall.go_on.set()
    await until(lambda: hall.done == 3)
    assert hall.most == 1


async def test_of_a_lane_and_of_replays(stage: Stage) -> None:
    hall = Hall()
    events = await stage.running(module_of(hall), concurrency={"events_change": 1, "events_replay": 2})
    assert await events.operations.set_pool("events_change", 3, actor="ada")
    assert await events.operations.set_pool("events_replay", 1, actor="ada")
    runtime = events.runtime
    await until(lambda: runtime.replays.concurrency == 1)
    await publish(events, [Pinged(number=number) for number in range(6)])
    await until(lambda: hall.inside == 3)
    hall.go_on.set()
    await until(lambda: hall.done == 6)
    assert hall.most == 3
    await until(lambda: shown(events, 5))
    pools = {pool.name: pool for pool in await events.observe.pools(reserved=True)}
    assert {name: (pool.concurrency, pool.set_to) for name, pool in pools.items()} == {
        "batch": (5, None), "events_change": (3, 3), "events_inbound": (20, None), "events_outbound": (10, None),
        "events_replay": (1, 1),
    }  # fmt: skip
    assert runtime.redelivery.concurrency == 33
    assert [pool.name for pool in await events.observe.pools()] == ["batch"]


async def test_what_cannot_be(stage: Stage) -> None:
    events = await stage.idle(module_of(Hall(), "reports"))
    operations = events.operations
    for pool, number, word in (
        ("report", 2, "Did you mean 'reports'"), ("other", 2, "There are batch, events_change"),
        ("batch", 0, "pause the jobs"), ("batch", 10_001, "not from 1 to 10,000"), ("batch", True, "no whole number"),
    ):  # fmt: skip
        with pytest.raises(OperationRefused, match=word):
            await operations.set_pool(pool, number, actor="ada")
    with pytest.raises(OperationRefused, match="Did you mean 'reports'"):
        await operations.reset_pool("report", actor="ada")
    with pytest.raises(OperationRefused, match="actor is empty"):
        await operations.set_pool("batch", 2, actor=" ")
    with pytest.raises(OperationRefused, match="it would hold for everybody"):
        await operations.within("acme").set_pool("batch", 2, actor="ada")
    assert await stage.rows("SELECT FROM events.pool") == []
