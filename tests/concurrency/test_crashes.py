"""An event that ends its process dies after so many; what came with it is handled, and nobody else is blamed."""

import asyncio
import logging
from typing import Any

import pytest

from fastapi_events import Module, Retry, fixed
from tests.concurrency.vanishing import DEAD, Fleet, Killer, MakeModule, orders
from tests.delivery.stage import Placed, Stage, publish, within

POISON = 3


def noting(seen: list[int], **options: Any) -> MakeModule:
    """A service with one handler, which notes what it has handled."""

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", **options)
        async def handle(event: Placed) -> None:
            await killer.strike(event.number)
            seen.append(event.number)

        return module

    return make


async def crashes(stage: Stage) -> int:
    """How many processes have vanished at the place of the partition that is most in doubt."""
    return await stage.value(
        "SELECT max(crashes) FROM (SELECT DISTINCT ON (group_id, lane, partition) crashes FROM events.cursor_log "
        "ORDER BY group_id, lane, partition, seq DESC) newest"
    )


async def test_the_culprit_dies_and_its_siblings_are_handled(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON)
    await fleet.fill([*orders(1, 2, POISON, 4, 5), Placed(order="3", number=30), Placed(order="1", number=10)])
    await fleet.vanish()
    await fleet.vanish()
    assert await crashes(stage) == 1  # counted when the next one claims
    assert await stage.deliveries() == []
    seen.clear()  # twice in company: what its siblings had done then is done again, as after any crash
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        await fleet.vanish()
    [line] = [record.getMessage() for record in caplog.records if "run alone" in record.getMessage()]
    assert "shop.order.placed" in line
    assert "for shop.handle" in line
    assert str(await stage.value("SELECT id FROM events.event WHERE payload ->> 'number' = '3'")) in line
    await fleet.vanish()
    await fleet.vanish()
    await fleet.live()
    assert sorted(seen) == [1, 2, 4, 5, 10]
    assert seen.index(1) < seen.index(10)
    rows = {row["position"]: row for row in await stage.deliveries()}
    [dead] = [row for row in rows.values() if row["state"] == "dead"]
    assert (dead["reason"], dead["crashes"], dead["error_type"]) == ("crashed_worker", 3, "WorkerCrashed")
    assert dead["error_message"].count("(pid ") == 3
    detail = await fleet.vanished[0].observe.delivery(dead["id"])
    assert detail is not None
    assert detail.crashes == 3
    [behind] = [row for row in rows.values() if row["state"] == "waiting"]  # number 30 waits behind it
    assert (behind["slot"], behind["position"] > dead["position"]) == (dead["slot"], True)
    assert await stage.value("SELECT count(*) FROM events.worker WHERE alone_with IS NOT NULL") == 3


async def test_followers_of_a_dead_culprit_pass_where_the_handler_lets_them(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen, on_dead="continue"), POISON, max_crashes=1)
    await fleet.fill([Placed(order="a", number=number) for number in (1, 2, POISON, 4, 5)])
    for _ in range(3):
        await fleet.vanish()
    seen.clear()
    await fleet.live()
    assert seen == [4, 5]
    assert [row["reason"] for row in await stage.deliveries("dead")] == ["crashed_worker"]


async def test_two_culprits_in_one_batch_die_by_themselves(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), 2, 4, max_crashes=2)
    await fleet.fill(orders(1, 2, 3, 4, 5))
    for _ in range(6):
        await fleet.vanish()
    await fleet.live()
    dead = [row["slot"] for row in await stage.deliveries("dead")]
    assert sorted(slot[-1] for slot in dead) == ["2", "4"]
    assert {1, 3, 5} <= set(seen)


async def test_one_accident_costs_nothing(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON)
    await fleet.fill(orders(1, POISON))
    await fleet.vanish()
    fleet.poison = ()
    seen.clear()
    await fleet.live()
    assert sorted(seen) == [1, POISON]
    assert await stage.deliveries() == []
    assert await crashes(stage) == 0


async def test_who_lives_has_not_crashed_however_long_it_was_away(stage: Stage) -> None:
    """An outage of the database ends everybody's leases: those who come back, or have, are counted nowhere."""
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON, max_crashes=1)
    await fleet.fill(orders(1, POISON))
    await fleet.vanish()
    await stage.rows("UPDATE events.worker SET lease_until = clock_timestamp() + interval '1 h'")  # it is heard again
    await fleet.vanish()
    assert await crashes(stage) == 0
    await fleet.vanish()
    assert await crashes(stage) == 1
    alone = await fleet.vanish()  # the second in a row: it cuts the batch up, and vanishes over the suspect
    await stage.rows("UPDATE events.worker SET lease_until = clock_timestamp() + interval '1 h'")
    last = await fleet.vanish()
    assert [row["crashes"] for row in await stage.deliveries("waiting")] == [0]
    for events in (alone, last):
        await stage.rows(DEAD, events.runtime.worker)
    await stage.rows("DELETE FROM events.worker WHERE id = $1", last.runtime.worker)  # in good order after all
    await stage.rows("UPDATE events.worker SET alone_with = NULL WHERE id = $1", alone.runtime.worker)
    fleet.poison = ()
    await fleet.live()
    assert await stage.deliveries("dead") == []
    assert set(seen) == {1, POISON}


async def test_a_partition_whose_holder_lives_counts_no_crash(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON)
    await fleet.fill(orders(POISON))
    for _ in range(3):
        killer = Killer(POISON)
        events = await fleet.silent(killer)
        working = asyncio.create_task(events.drain_once())
        await within(killer.struck.wait())
        working.cancel()
        await fleet.expire(events, silent=False)
        assert await crashes(stage) == 0


async def test_where_processes_vanish_anyway_more_is_asked_of_the_evidence(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON, max_crashes=1)
    await fleet.fill(orders(POISON))
    for _ in range(3):
        await fleet.vanish()
    await fleet.others(5)
    await fleet.vanish()
    assert [row["crashes"] for row in await stage.deliveries("waiting")] == [1]
    await fleet.vanish()
    await fleet.live()  # three times as much as otherwise, however many others there are
    assert [row["crashes"] for row in await stage.deliveries("dead")] == [3]


async def test_what_processes_that_vanish_anyway_have_in_hand_is_not_in_doubt_at_once(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON)
    await fleet.fill(orders(1, POISON))
    for _ in range(2):
        await fleet.vanish()
    await fleet.others(9)
    for _ in range(4):
        await fleet.vanish()
        assert await stage.deliveries() == []
    await fleet.vanish()  # but it is in the end, however many there are
    assert {row["reason"] for row in await stage.deliveries("waiting")} == {"crash_suspect"}


async def test_processes_that_vanish_anyway_get_on_by_small_bites(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), 8)
    await fleet.fill([Placed(order="a", number=number) for number in range(1, 9)])
    for _ in range(2):
        await fleet.vanish()
    await fleet.others(9)
    seen.clear()
    await fleet.vanish()
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert await stage.value("SELECT sum(cardinality(positions)) FROM events.success_batch") == 2
    assert await crashes(stage) == 0


async def test_a_suspect_that_fails_is_an_ordinary_failure_and_not_in_doubt_any_more(stage: Stage) -> None:
    failing: list[int] = []

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", retry=Retry(2, fixed(0)))
        async def handle(event: Placed) -> None:
            await killer.strike(event.number)
            failing.append(event.number)
            raise ValueError("an ordinary failure")

        return module

    fleet = Fleet(stage, make, POISON)
    await fleet.fill(orders(POISON))
    for _ in range(4):
        await fleet.vanish()
    [row] = await stage.deliveries()
    assert (row["reason"], row["crashes"]) == ("crash_suspect", 1)
    fleet.poison = ()
    await fleet.live()
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["attempts"], row["crashes"]) == ("dead", "max_attempts", 2, 0)
    assert failing == [POISON, POISON]


async def test_a_redrive_gives_a_fresh_budget_and_runs_it_alone_again(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON, max_crashes=1)
    await fleet.fill(orders(POISON))
    for _ in range(3):
        await fleet.vanish()
    events = await fleet.live()
    [dead] = await stage.deliveries("dead")
    assert await events.operations.redrive([dead["id"]], actor="me")
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["crashes"]) == ("waiting", "crash_suspect", 0)
    await fleet.vanish()
    await fleet.live()
    [again] = await stage.deliveries("dead")
    assert (again["reason"], again["crashes"]) == ("crashed_worker", 1)
    assert await events.operations.redrive([dead["id"]], actor="me")
    fleet.poison = ()
    await fleet.live()
    assert seen == [POISON]


async def test_a_parked_key_that_processes_vanish_over_is_run_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """What is retried, or has been detached, is held by its key: no batch tells of it."""
    failed: list[bool] = []
    seen: list[int] = []

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", retry=Retry(5, fixed(0)))
        async def handle(event: Placed) -> None:
            if not failed:
                failed.append(True)
                raise ValueError("not yet")
            await killer.strike(event.number)
            seen.append(event.number)

        return module

    fleet = Fleet(stage, make, POISON, max_crashes=2)
    await fleet.fill(orders(POISON))
    await fleet.vanish()  # it fails in its lane, is parked, and a process vanishes over the second attempt
    await fleet.vanish()
    assert await stage.value("SELECT crashes FROM events.parked_key") == 1
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        await fleet.vanish()
    assert "run alone" in caplog.text
    assert await stage.value("SELECT suspect FROM events.parked_key")
    await fleet.vanish()
    await fleet.live()
    [dead] = await stage.deliveries("dead")
    assert (dead["reason"], dead["crashes"], dead["attempts"]) == ("crashed_worker", 2, 2)
    assert seen == []


async def test_new_events_of_other_keys_are_not_held_up_by_suspects(stage: Stage) -> None:
    seen: list[int] = []
    fleet = Fleet(stage, noting(seen), POISON)
    await fleet.fill(orders(1, POISON))
    for _ in range(4):
        await fleet.vanish()
    publisher = await stage.idle(fleet.make(Killer()), **fleet.settings)
    await publish(publisher, [*orders(7), Placed(order="3", number=30)])
    seen.clear()
    await fleet.vanish()
    assert seen == [7]
    reasons = [row["reason"] for row in await stage.deliveries("waiting")]
    assert reasons == ["crash_suspect", "key_blocked"]
