"""What holds a key, what frees it, and how the retry side waits for keys and for the database."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Literal
from uuid import UUID, uuid4

import asyncpg
import pytest

from fastapi_events import Events, Module, Retry, RetryLater, fixed
from fastapi_events.engine.redelivery import SHORTEST_WAIT
from tests.delivery.stage import Placed, Stage, publish, until, within


def shop(seen: list[int], broken: set[int], on_dead: Literal["park", "continue"] = "park") -> Module:
    module = Module("shop")

    @module.on(Placed, id="shop.handle", retry=Retry(1), on_dead=on_dead)
    async def handle(event: Placed) -> None:
        if event.number in broken:
            raise ValueError("dies")
        seen.append(event.number)

    return module


async def handle(events: Events, numbers: Sequence[int]) -> None:
    await publish(events, [Placed(order="a", number=number) for number in numbers])
    await events.drain_once()


async def dead_under_both(stage: Stage, seen: list[int], broken: set[int]) -> tuple[Events, list[UUID]]:
    """One key with a death that followers were let past, and a later one that parks them; ids of the two."""
    passing = await stage.idle(shop(seen, broken, "continue"))
    await handle(passing, [0])
    await passing.stop()
    parking = await stage.idle(shop(seen, broken))
    await handle(parking, [1, 2, 3])
    assert seen == []
    return parking, [row["id"] for row in await stage.deliveries("dead")]


async def test_a_discard_frees_no_key_that_another_dead_delivery_holds(stage: Stage) -> None:
    seen: list[int] = []
    events, (old, head) = await dead_under_both(stage, seen, {0, 1})
    await events.operations.discard([old], reason="old", actor="me")
    await events.drain_once()
    await handle(events, [4])
    assert seen == []
    await events.operations.discard([head], reason="given up", actor="me")
    await events.drain_once()
    assert seen == [2, 3, 4]


async def test_what_commits_late_with_a_place_before_a_dead_delivery_does_not_wait_for_it(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(shop(seen, {2}))
    async with events.session() as late:
        await events.publisher(late)(Placed(order="a", number=1), event_id=uuid4())  # which is inserted at once
        await handle(events, [2, 3])
        assert seen == []
        await late.commit()
    await events.drain_once()
    assert seen == [1]
    await handle(events, [4])
    assert seen == [1]
    [head] = await stage.deliveries("dead")
    await events.operations.discard([head["id"]], reason="given up", actor="me")
    await events.drain_once()
    assert seen == [1, 3, 4]


async def test_a_redriven_delivery_takes_no_follower_past_another_dead_one(stage: Stage) -> None:
    seen: list[int] = []
    broken = {0, 1}
    events, (old, head) = await dead_under_both(stage, seen, broken)
    broken.clear()
    await events.operations.redrive([old], actor="me")
    await events.drain_once()
    assert seen == [0]
    await handle(events, [4])
    assert seen == [0]
    await events.operations.redrive([head], actor="me")
    await events.drain_once()
    assert seen == [0, 1, 2, 3, 4]


async def test_each_of_two_dead_deliveries_may_be_redriven_by_itself(stage: Stage) -> None:
    seen: list[int] = []
    broken = {0, 1}
    events, (old, head) = await dead_under_both(stage, seen, broken)
    await events.operations.redrive([old], actor="me")
    await events.drain_once()
    broken.clear()
    await events.operations.redrive([head], actor="me")
    await events.drain_once()
    assert seen == [1]
    await events.operations.redrive([old], actor="me")
    await events.drain_once()
    assert seen == [1, 0, 2, 3]


async def test_two_discards_at_once_free_the_key(stage: Stage) -> None:
    seen: list[int] = []
    events, ids = await dead_under_both(stage, seen, {0, 1})
    await asyncio.gather(*(events.operations.discard([one], reason="x", actor="me") for one in ids))
    await events.drain_once()
    assert seen == [2, 3]


async def test_a_key_is_free_once_followers_are_let_past(stage: Stage) -> None:
    seen: list[int] = []
    parking = await stage.idle(shop(seen, {0}))
    await handle(parking, [0, 1, 2])
    await parking.stop()
    passing = await stage.idle(shop(seen, {0}, "continue"))
    await handle(passing, [3, 4])
    assert seen == [1, 2, 3, 4]
    assert [row["state"] for row in await stage.deliveries()] == ["dead", "done", "done", "done", "done"]
    await handle(passing, [5])
    assert await stage.value("SELECT count(*) FROM events.parked_key WHERE blocked") == 0


async def test_a_process_of_the_release_before_parks_no_key_any_more(stage: Stage) -> None:
    seen: list[int] = []
    parking = await stage.idle(shop(seen, {0}))
    await stage.idle(shop(seen, {0}, "continue"))
    await handle(parking, [0, 1, 2])
    assert seen == [1, 2]


async def test_a_death_that_followers_were_let_past_holds_nothing_later(stage: Stage) -> None:
    seen: list[int] = []
    passing = await stage.idle(shop(seen, {0}, "continue"))
    await handle(passing, [0, 1])
    await passing.stop()
    parking = await stage.idle(shop(seen, {0}))
    await handle(parking, [2])
    assert seen == [1, 2]


async def test_a_due_key_that_somebody_has_locked_is_not_asked_for_without_pause(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def later(event: Placed) -> None:
        raise RetryLater(0.3)

    events = await stage.running(module, poll_interval=5.0)
    await publish(events, [Placed(order="a")])
    await until(lambda: stage.value("SELECT count(*) FROM events.parked_key WHERE worker_id IS NULL"), "the parked key")
    other = await asyncpg.connect(stage.url)
    try:
        locking = other.transaction()
        await locking.start()
        await other.execute("SELECT FROM events.parked_key FOR UPDATE")
        await until(lambda: stage.value("SELECT count(*) FROM events.parked_key WHERE due_at <= clock_timestamp()"))
        assert events.runtime.redelivery is not None
        store, asked, claim = events.runtime.redelivery._store, 0, events.runtime.redelivery._store.claim

        async def counted(*arguments: object, **more: object) -> object:
            nonlocal asked
            asked += 1
            return await claim(*arguments, **more)  # type: ignore[arg-type]

        store.claim = counted  # type: ignore[method-assign, assignment]
        began = time.monotonic()
        await until(lambda: asked >= 5, "the fifth search")
        assert time.monotonic() - began >= 4 * SHORTEST_WAIT - 0.01
        await locking.rollback()
        attempts = "SELECT postponed FROM events.delivery"
        first = await stage.value(attempts)
        await until(lambda: more(stage, attempts, first), "the key once it is free")
    finally:
        await other.close()


async def more(stage: Stage, query: str, than: int) -> bool:
    return int(await stage.value(query)) > than


REFUSE = """
    CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.state = 'done' AND {which} IN (NEW.position, -1) AND nextval('refusals') <= {times} THEN
            RAISE EXCEPTION 'refused' USING ERRCODE = '{state}';
        END IF;
        RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON events.delivery FOR EACH ROW EXECUTE FUNCTION refuse();
"""
ACCEPT = "DROP TRIGGER refuse ON events.delivery; DROP FUNCTION refuse(); DROP SEQUENCE refusals"


def retried(calls: list[int]) -> Module:
    """Five events of one key, the first of which fails in its first attempt."""
    module = Module("shop")

    @module.on(Placed, retry=Retry(3, fixed(0)))
    async def handle(event: Placed) -> None:
        calls.append(event.number)
        if calls == [1]:
            raise ValueError("not yet")

    return module


async def test_a_key_is_settled_with_patience_for_the_infrastructure(stage: Stage) -> None:
    calls: list[int] = []
    events = await stage.idle(retried(calls))
    connection = await asyncpg.connect(stage.url)
    await connection.execute(REFUSE.format(which=-1, times=2, state="40001"))
    try:
        await within(handle(events, [1, 2, 3]))
    finally:
        await connection.execute(ACCEPT)
        await connection.close()
    assert calls == [1, 1, 2, 3]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


async def test_a_result_that_the_database_refuses_is_a_death_and_not_a_loop(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    events = await stage.idle(retried(calls))
    await publish(events, [Placed(order="a", number=number) for number in (1, 2, 3)])
    positions = [row["position"] for row in await stage.rows("SELECT position FROM events.event ORDER BY position")]
    connection = await asyncpg.connect(stage.url)
    await connection.execute(REFUSE.format(which=positions[1], times=1_000_000, state="23514"))
    try:
        with caplog.at_level(logging.WARNING, "fastapi_events"):
            await within(events.drain_once())
    finally:
        await connection.execute(ACCEPT)
        await connection.close()
    assert calls == [1, 1, 2, 3, 1, 2]
    assert [(row["state"], row["reason"]) for row in await stage.deliveries()] == [
        ("done", "retry"),
        ("dead", "unsettleable"),
        ("waiting", "key_blocked"),
    ]
    assert "refused" in caplog.text
    [dead] = await stage.deliveries("dead")
    await events.operations.redrive([dead["id"]], actor="me")
    await events.drain_once()
    assert calls[6:] == [2, 3]
