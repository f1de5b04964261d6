"""What a dead event leaves behind keeps its own abandoned attempts from committing, and nothing else."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from fastapi_events import Events, HandlerSession, Module, Retry, fixed
from tests.delivery.stage import Placed, Stage, effect, publish, until, within


def shop(calls: list[int], broken: set[int], *, attempts: int = 1) -> Module:
    """A transactional handler for which all events have one idempotency key; the events in ``broken`` fail."""
    module = Module("shop")

    @module.on(Placed, id="shop.once", retry=Retry(attempts, fixed(0)), idempotency_key=lambda event: "same")
    async def once(event: Placed, session: HandlerSession) -> None:
        calls.append(event.number)
        await effect(session, "once", event.number)
        if event.number in broken:
            raise ValueError("bad data")

    return module


async def effects(stage: Stage) -> list[int]:
    return [row["number"] for row in await stage.rows("SELECT number FROM effect ORDER BY written")]


async def handle(events: Events, *numbers: int) -> None:
    """Publish events one after the other, each with an ordering key of its own, and handle each."""
    for number in numbers:
        await publish(events, [Placed(order=str(number), number=number)])
        await events.drain_once()


async def may_commit(stage: Stage, events: Events) -> list[bool]:
    """For each delivery: whether an attempt at it that was given up, and begins only now, would get the mark."""
    take, answers = events.runtime.statements["mark_processed"], []
    for row in await stage.deliveries():
        async with rolled_back(stage.url) as connection:
            answers.append(bool(await connection.fetch(take, row["handler_id"], row["tombstone"], row["position"])))
    return answers


@asynccontextmanager
async def rolled_back(url: str) -> AsyncGenerator[Any]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_later_event_with_the_key_of_a_dead_one_is_handled_once(stage: Stage, attempts: int) -> None:
    calls: list[int] = []
    events = await stage.idle(shop(calls, {1}, attempts=attempts))
    await handle(events, 1, 2, 3)
    assert calls == [1] * attempts + [2]
    assert await effects(stage) == [2]
    [dead] = await stage.deliveries()
    assert dead["state"] == "dead"
    await events.operations.discard([dead["id"]], reason="given up", actor="me")
    await handle(events, 4)
    assert await effects(stage) == [2]


async def test_after_a_discard_a_later_event_with_its_key_is_handled(stage: Stage) -> None:
    calls: list[int] = []
    events = await stage.idle(shop(calls, {1}))
    await handle(events, 1)
    [dead] = await stage.deliveries()
    await events.operations.discard([dead["id"]], reason="given up", actor="me")
    await handle(events, 2)
    assert (calls, await effects(stage)) == ([1, 2], [2])


async def test_events_of_one_key_in_one_batch_die_each_by_itself(stage: Stage) -> None:
    calls: list[int] = []
    events = await stage.idle(shop(calls, {1, 2, 3}))
    await publish(events, [Placed(order=str(number), number=number) for number in (1, 2, 3)])
    await events.drain_once()
    assert sorted(calls) == [1, 2, 3]
    assert {row["state"] for row in await stage.deliveries()} == {"dead"}


@pytest.mark.parametrize("attempts", [1, 2])
async def test_no_abandoned_attempt_at_a_dead_event_gets_the_mark(stage: Stage, attempts: int) -> None:
    broken = {1, 2}
    events = await stage.idle(shop([], broken, attempts=attempts))
    await handle(events, 1, 2)
    assert await may_commit(stage, events) == [False, False]
    first, second = await stage.deliveries("dead")
    await events.operations.discard([first["id"]], reason="given up", actor="me")
    assert await may_commit(stage, events) == [False, False]
    broken.clear()
    await events.operations.redrive([second["id"]], actor="me")
    await events.drain_once()
    assert await effects(stage) == [2]
    assert await may_commit(stage, events) == [False, False]


async def test_a_redriven_event_is_handled_unless_another_of_its_key_was(stage: Stage) -> None:
    calls: list[int] = []
    broken = {1, 2}
    events = await stage.idle(shop(calls, broken))
    await handle(events, 1, 2)
    broken.clear()
    first, second = await stage.deliveries("dead")
    await events.operations.redrive([first["id"]], actor="me")
    await events.drain_once()
    await events.operations.redrive([second["id"]], actor="me")
    await events.drain_once()
    assert (calls, await effects(stage)) == ([1, 2, 1], [1])
    assert [row["state"] for row in await stage.deliveries()] == ["done", "done"]


async def test_a_redrive_leaves_no_mark_of_the_death(stage: Stage) -> None:
    events = await stage.idle(shop([], {1, 2}))
    await handle(events, 1, 2)
    ids = [row["id"] for row in await stage.deliveries()]
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 1
    await events.operations.redrive(ids, actor="me")
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 0


async def test_a_handler_without_a_session_is_not_stopped_by_a_tombstone_either(stage: Stage) -> None:
    calls: list[int] = []
    transactional = await stage.idle(shop(calls, {1}))
    await handle(transactional, 1)
    await transactional.stop()
    module = Module("shop")

    @module.on(Placed, id="shop.once", idempotency_key=lambda event: "same")
    async def once(event: Placed) -> None:
        calls.append(event.number)

    events = await stage.idle(module)
    await handle(events, 2, 3)
    assert calls == [1, 2]


SLOW_COMMIT = """
    CREATE OR REPLACE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
            WHILE NOT pg_try_advisory_xact_lock_shared(4711) LOOP PERFORM pg_sleep(0.01); END LOOP;
            RETURN NULL;
        END $$;
    CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait_at_commit();
"""
SETTLE_WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_time_out_during_the_commit_is_no_death(stage: Stage, attempts: int) -> None:
    """The last attempt is given up while it commits: the effect is there, so the event is done and its key free."""
    calls: list[int] = []
    module = Module("shop")

    @module.on(Placed, retry=Retry(attempts, fixed(0)), timeout=0.2)
    async def handle(event: Placed, session: HandlerSession) -> None:
        calls.append(event.number)
        if calls.count(1) < attempts:
            raise ValueError("not yet")
        await effect(session, "handle", event.number)

    events = await stage.idle(module, poll_interval=5)
    holder = await asyncpg.connect(stage.url)
    await holder.execute(SLOW_COMMIT)
    try:
        await holder.execute("SELECT pg_advisory_lock(4711)")
        await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2)])
        working = asyncio.create_task(events.drain_once())
        await until(lambda: stage.value(SETTLE_WAITS), "the settlement to wait for the attempt that was given up")
        await holder.execute("SELECT pg_advisory_unlock(4711)")
        await within(working)
    finally:
        await holder.execute("DROP TRIGGER slow_commit ON effect; DROP FUNCTION wait_at_commit()")
        await holder.close()
    assert await effects(stage) == [1, 2]
    assert calls == [1] * attempts + [2]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}
    assert await stage.value("SELECT count(*) FROM events.parked_key WHERE blocked") == 0
