"""Transactional handlers of a worker that others have overtaken, or whose database does not answer."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import DeadLetter, Discard, HandlerConnection, HandlerSession, Module, Retry, fixed
from fastapi_events.store.database import sqlalchemy_url
from tests.concurrency.test_fencing import EXPIRE_KEYS, EXPIRE_LANES, Gate, stale
from tests.delivery.proxy import Proxy
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, within


def shop(name: str, gate: Gate | None, end: type[Exception], by: str) -> Module:
    """A plain handler that may stop on its way, and one with effects, which ends the first order in the heir alone."""
    module = Module("shop")

    @module.on(Shipped, id="wait")
    async def wait(event: Shipped) -> None:
        if gate is not None:
            await gate.wait()

    async def pay(event: Placed) -> None:
        if gate is None and event.number == 1:
            raise end("not this one")

    if by == "connection":

        @module.on(Placed, id="pay")
        async def through_driver(event: Placed, connection: HandlerConnection) -> None:
            await pay(event)
            await connection.execute("INSERT INTO effect VALUES ($1, $2)", name, event.number)

    elif by == "list":

        @module.on(Placed, id="pay", batch=10)
        async def lists(events: list[Placed], session: HandlerSession) -> None:
            for event in events:
                await pay(event)
                await effect(session, name, event.number)

    else:

        @module.on(Placed, id="pay")
        async def through_session(event: Placed, session: HandlerSession) -> None:
            await pay(event)
            await effect(session, name, event.number)

    return module


@pytest.mark.parametrize("by", ["session", "connection", "list"])
@pytest.mark.parametrize(("end", "effects", "states"), [
    (Discard, [("heir", 2)], ["discarded"]),
    (DeadLetter, [], ["dead", "waiting"]),
])  # fmt: skip
async def test_an_overtaken_worker_commits_neither_what_has_ended_nor_what_comes_behind_it(
    stage: Stage, end: type[Exception], effects: list[Any], states: list[str], by: str
) -> None:
    gate = Gate()
    one_at_a_time = {"events_change": 1}  # a list is no link of its events' chains
    zombie = await stage.idle(shop("zombie", gate, end, by), heartbeat=2.0, concurrency=one_at_a_time)
    heir = await stage.idle(shop("heir", None, end, by))
    await publish(zombie, [Shipped(order="a"), Placed(order="a", number=1), Placed(order="a", number=2)])
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    await stage.rows(EXPIRE_LANES)
    await heir.drain_once()
    before = await stage.deliveries()
    gate.go.set()
    await within(working)
    found = await stage.rows("SELECT handler, number FROM effect ORDER BY number")
    assert [tuple(row) for row in found] == effects
    assert [row["state"] for row in before] == states
    assert await stage.deliveries() == before
    assert stale(zombie) == 1


async def test_a_worker_whose_parked_key_was_overtaken_runs_nothing_behind_a_dead_head(stage: Stage) -> None:
    gate, broken = Gate(), [True]

    def failing_shop(*, is_heir: bool) -> Module:
        module = Module("shop")

        @module.on(Shipped, id="mixed", retry=Retry(3, fixed(0)))
        async def mixed(event: Shipped, session: HandlerSession) -> None:
            if broken[0]:
                broken[0] = False
                raise ValueError("not yet")
            if is_heir and event.number == 1:
                raise DeadLetter("not this one")
            await effect(session, "heir" if is_heir else "zombie", event.number)

        return module

    zombie, heir = (
        await stage.idle(failing_shop(is_heir=False), heartbeat=2.0),
        await stage.idle(failing_shop(is_heir=True)),
    )
    await publish(zombie, [Shipped(order="a", number=1), Shipped(order="a", number=2)])
    zombie.runtime.make_drains()
    for loop in zombie.runtime.drain_loops:
        await loop.drain()
    assert [row["state"] for row in await stage.deliveries()] == ["waiting", "waiting"]
    redelivery: Any = zombie.runtime.redelivery
    original = redelivery._executor.run

    async def stalled(run: Any) -> Any:
        await gate.wait()
        return await original(run)

    redelivery._executor.run = stalled
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    await stage.rows(EXPIRE_KEYS)
    await heir.drain_once()
    before = await stage.deliveries()
    gate.go.set()
    await within(working)
    assert [row["state"] for row in before] == ["dead", "waiting"]
    assert await stage.deliveries() == before
    assert await stage.value("SELECT count(*) FROM effect") == 0


async def test_a_transaction_that_cannot_begin_in_time_spends_no_attempt(stage: Stage) -> None:
    seen, module = [], Module("shop")

    @module.on(Placed, retry=Retry(1), timeout=0.4)
    async def pay(event: Placed, session: HandlerSession) -> None:
        seen.append(event.number)
        await effect(session, "pay", event.number)

    async with Proxy(stage.url) as proxy:
        engine = create_async_engine(sqlalchemy_url(proxy.url))
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        events = await stage.idle(module, sessions=sessions, database_url=stage.url)
        direct = await stage.idle(Module("publisher"), group="publisher")
        await publish(direct, [Placed(order="a", number=1)])
        await events.drain_once()
        proxy.blackhole.set()
        await publish(direct, [Placed(order="b", number=2)])
        await within(events.drain_once())
        [waiting] = await stage.deliveries()
        assert (waiting["state"], waiting["attempts"], waiting["error_type"]) == ("waiting", 0, "NoTransaction")
        proxy.blackhole.clear()
        await stage.make_due()
        await within(events.drain_once())
        [done] = await stage.deliveries()
        assert (done["state"], done["attempts"], seen) == ("done", 1, [1, 2])
        await events.stop()
        await engine.dispose()
