"""What is run alone keeps to breakers, pauses, versions of processes and good order like anything else."""

import asyncio

import pytest

from fastapi_events import Breaker, Module, Retry
from tests.concurrency.vanishing import Fleet, Killer, orders
from tests.delivery.stage import Pinged, Placed, Stage, publish, until, within

POISON = 3


def one_handler(killer: Killer) -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.handle")
    async def handle(event: Placed) -> None:
        await killer.strike(event.number)

    return module


async def test_a_process_that_is_stopped_over_it_counts_nothing_and_leaves_it_in_doubt(stage: Stage) -> None:
    fleet = Fleet(stage, one_handler, POISON, max_crashes=1)
    await fleet.fill(orders(POISON))
    await fleet.vanish()
    await fleet.vanish()
    killer = Killer(POISON)
    stopped = await stage.running(fleet.make(killer), **fleet.settings)
    await within(killer.struck.wait())
    await stopped.stop()
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["attempts"], row["crashes"]) == ("waiting", "crash_suspect", 0, 0)
    await fleet.vanish()  # it may be run, and alone: that one is counted
    await fleet.live()
    assert [row["crashes"] for row in await stage.deliveries("dead")] == [1]


async def test_suspects_of_a_paused_handler_wait(stage: Stage) -> None:
    fleet = Fleet(stage, one_handler, POISON)
    await fleet.fill(orders(1, POISON))
    for _ in range(3):
        await fleet.vanish()
    operator = fleet.vanished[0].operations
    await operator.pause(handler="shop.handle", actor="me")
    await fleet.live()
    assert {row["reason"] for row in await stage.deliveries("waiting")} == {"crash_suspect"}
    await operator.resume(handler="shop.handle", actor="me")
    fleet.poison = ()
    await fleet.live()
    assert await stage.deliveries("waiting") == []


async def test_suspects_of_a_handler_whose_breaker_is_open_are_its_probes(stage: Stage) -> None:
    down = [True]

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", breaker=Breaker(1, recovery=3600), retry=Retry(1))
        async def handle(event: Placed) -> None:
            await killer.strike(event.number)
            if event.number == 1 and down[0]:
                raise ConnectionError("its service is down")

        return module

    fleet = Fleet(stage, make, POISON)
    await fleet.fill(orders(POISON))
    for _ in range(3):
        await fleet.vanish()
    fleet.poison = ()
    other = await fleet.silent(Killer())
    await publish(other, orders(1))
    await within(other.drain_once())  # it opens the breaker, and then runs nothing
    assert await stage.value("SELECT count(*) FROM events.breaker WHERE opened_at IS NOT NULL") == 1
    assert [row["reason"] for row in await stage.deliveries("waiting")] == ["crash_suspect"]
    down[0] = False
    await stage.rows("UPDATE events.breaker SET probe_at = clock_timestamp() - interval '1 s'")
    await fleet.live()
    assert await stage.deliveries("waiting") == []
    assert await stage.value("SELECT count(*) FROM events.breaker WHERE opened_at IS NOT NULL") == 0


async def test_each_handler_of_an_event_without_a_key_is_in_doubt_by_itself(stage: Stage) -> None:
    seen: list[str] = []

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Pinged, id="shop.fragile")
        async def fragile(event: Pinged) -> None:
            await killer.strike(event.number)

        @module.on(Pinged, id="shop.sound")
        async def sound(event: Pinged) -> None:
            seen.append("sound")

        return module

    fleet = Fleet(stage, make, POISON, max_crashes=1)
    await fleet.fill([Pinged(number=POISON)])
    for _ in range(3):
        await fleet.vanish()
    await fleet.live()
    assert {row["handler"]: row["state"] for row in await stage.deliveries()} == {
        "shop.fragile": "dead", "shop.sound": "done",
    }  # fmt: skip
    assert "sound" in seen


async def test_a_detached_attempt_that_ends_processes_is_found_too(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """It has left its batch, which is settled: only its key tells who vanished over it."""
    fleet = Fleet(stage, one_handler, POISON, max_crashes=1, inline_budget=0.05)
    await fleet.fill(orders(POISON))
    killer = Killer(POISON)
    first = await fleet.silent(killer)
    working = asyncio.create_task(first.drain_once())
    await within(killer.struck.wait())
    held = "SELECT count(*) FROM events.parked_key WHERE worker_id IS NOT NULL"
    await until(lambda: stage.value(held), "its key, which it holds by itself")
    working.cancel()
    await asyncio.wait({working})
    await fleet.expire(first)
    assert [row["reason"] for row in await stage.deliveries()] == ["detached"]
    await fleet.vanish()
    assert await stage.value("SELECT crashes FROM events.parked_key") == 1
    await fleet.vanish()
    assert "run alone" in caplog.text
    await fleet.live()
    [dead] = await stage.deliveries("dead")
    assert (dead["reason"], dead["crashes"]) == ("crashed_worker", 1)
