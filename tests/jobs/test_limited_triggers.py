"""What an event starts is bounded as any start is; where nothing is started, the history says so and names the run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import Concurrency, Dedupe, Events, JobContext, Module, RateLimit, Trigger
from fastapi_events.errors import JobCollisionError
from tests.concurrency.test_fencing import EXPIRE_LANES, Gate
from tests.delivery.stage import Placed, Stage, publish, until, within
from tests.jobs.test_triggers import Gated
from tests.jobs.triggered import TRIGGER, Restock, job_of, made, queued, restocking, runs


def by_sku(restock: Restock) -> str:
    return restock.sku


DEDUPE, TRAILING = Dedupe(key=by_sku), Dedupe(key=by_sku, until="started")
REJECT = Concurrency(key=by_sku, on_collision="reject")
REPLACE = Concurrency(key=by_sku, on_collision="replace")
CUT_OFF = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'idle in transaction'"""
ASKING: list[dict[str, Any]] = [{"dedupe": DEDUPE}, {"dedupe": TRAILING}, {"concurrency": REJECT}]


async def asleep(stage: Stage, module: Module, **options: Any) -> Events:
    """An instance that handles events and runs no job."""
    return await stage.idle(module, pools=["interactive"], **options)


async def told(events: Events, event: Any) -> tuple[str, str | None, str | None]:
    """How the history has the trigger of an event."""
    detail = await events.observe.event(event.event_id)
    assert detail is not None
    [delivery] = detail.deliveries
    assert delivery.handler == TRIGGER
    return delivery.state, delivery.reason, delivery.note


@asynccontextmanager
async def held_key(stage: Stage, key: str) -> AsyncIterator[None]:
    """An application's transaction that has started a run of the key, and does not end."""
    connection = await asyncpg.connect(stage.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "INSERT INTO events.run_dedupe (job_id, key, run_id, until_started) "
        "SELECT id, $1, gen_random_uuid(), false FROM events.job",
        key,
    )
    yield
    await transaction.rollback()
    await connection.close()


@pytest.mark.parametrize("options", ASKING)
async def test_an_event_whose_run_is_there_starts_none_and_says_which_it_is(
    stage: Stage, options: dict[str, Any]
) -> None:
    events = await asleep(stage, restocking([], **options))
    first = await events.publish(Placed(order="a"))
    second = await events.publish(Placed(order="a", number=2))
    other = await events.publish(Placed(order="b"))
    await events.drain_once()
    started = {run["event_id"]: run for run in await runs(stage)}
    assert set(started) == {first.event_id, other.event_id} or set(started) == {second.event_id, other.event_id}
    refused, began = (second, first) if first.event_id in started else (first, second)
    state, reason, note = await told(events, refused)
    assert (state, reason) == ("done", "skipped")
    assert note is not None
    assert str(started[began.event_id]["id"]) in note
    assert (await told(events, began))[1:] == (None, None)
    assert not await stage.deliveries()
    run = started[began.event_id]
    assert (run["trigger"], run["source_ref"], run["source"]) == (TRIGGER, str(began.event_id), "event")
    await events.drain_once()
    assert await queued(stage) == 2


async def test_a_run_by_hand_stands_for_an_event_too_and_the_other_way_round(stage: Stage) -> None:
    module = restocking([], dedupe=DEDUPE)
    events = await asleep(stage, module)
    by_hand = await events.jobs.start(job_of(module), Restock(sku="a"))
    event = await events.publish(Placed(order="a"))
    await events.publish(Placed(order="b"))
    await events.drain_once()
    assert (await told(events, event))[2] == f"run {by_hand.run} stands for it: it has the dedupe key 'a'"
    again = await events.jobs.start(job_of(module), Restock(sku="b"))
    assert (again.existing, again.run) == (True, (await runs(stage))[-1]["id"])


async def test_an_event_replaces_the_run_that_is_there(stage: Stage) -> None:
    module = restocking([], concurrency=REPLACE)
    events = await asleep(stage, module)
    by_hand = await events.jobs.start(job_of(module), Restock(sku="a"))
    event = await events.publish(Placed(order="a"))
    await events.drain_once()
    newest = (await runs(stage))[-1]
    assert newest["event_id"] == event.event_id
    old = await events.jobs.get(by_hand)
    assert (old.state, old.note) == ("canceled", f"replaced by run {newest['id']}")
    assert await told(events, event) == ("done", None, None)


@pytest.mark.parametrize("options", [{"concurrency": Concurrency(key=by_sku)}, {"rate_limit": RateLimit(1, 3600)}])
async def test_an_event_starts_a_run_that_waits_for_its_turn(stage: Stage, options: dict[str, Any]) -> None:
    events = await asleep(stage, restocking([], **options))
    await publish(events, [Placed(order="a", number=number) for number in range(3)])
    await events.drain_once()
    rows = await stage.rows("SELECT state, gate FROM events.run_queue")
    assert [row["state"] for row in rows] == [b"g"] * 3
    assert len({row["gate"] for row in rows}) == 1
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 0, "it waits for nobody: no transaction"


def trailing(seen: list[Any], gate: Gate) -> Module:
    """A job of which one run works and one waits; the first one stops on its way."""
    module = Module("shop")

    @module.job(
        "shop.restock", concurrency=Concurrency(key=by_sku), dedupe=TRAILING, triggers=[Trigger(Placed, map=made)]
    )
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.quantity)
        await gate.wait()

    return module


async def nothing_left(stage: Stage) -> bool:
    return await queued(stage) == 0


async def test_one_waits_while_one_is_at_work_however_many_events_come(stage: Stage) -> None:
    """The trailing edge: what is published while one is at work is dealt with after it, by one run."""
    seen: list[Any] = []
    gate = Gate()
    events = await stage.running(trailing(seen, gate))
    await events.publish(Placed(order="a", number=1))
    await within(gate.reached.wait())
    later = [await events.publish(Placed(order="a", number=number)) for number in range(2, 12)]
    await until(lambda: dealt_with(events, later))
    assert await queued(stage) == 2
    gate.go.set()
    await until(lambda: nothing_left(stage))
    assert len(seen) == 2


async def dealt_with(events: Events, published: list[Any]) -> bool:
    details = [await events.observe.event(one.event_id) for one in published]
    return all(detail is not None and detail.status == "done" for detail in details)


async def test_a_process_that_dies_before_it_has_recorded_the_event_leaves_it_to_another(stage: Stage) -> None:
    """Whether the run was started, or refused: the next one finds it, or decides anew."""
    gate = Gate()
    module = restocking([], dedupe=DEDUPE)
    dying = await asleep(stage, module, middleware=[Gated(gate)], heartbeat=2.0)
    heir = await asleep(stage, restocking([], dedupe=DEDUPE))
    by_hand = await dying.jobs.start(job_of(module), Restock(sku="a"))
    event = await dying.publish(Placed(order="a"))
    working = asyncio.create_task(dying.drain_once())
    await within(gate.reached.wait())
    working.cancel()
    await asyncio.wait([working])
    await stage.rows(CUT_OFF)
    await dying.jobs.cancel(by_hand)
    await stage.rows(EXPIRE_LANES)
    await heir.drain_once()
    assert await told(heir, event) == ("done", None, None)
    [_, run] = await runs(stage)
    assert run["event_id"] == event.event_id


async def test_one_that_is_delivered_again_finds_its_run_and_takes_nobodys_place(stage: Stage) -> None:
    module = restocking([], concurrency=REPLACE)
    events = await asleep(stage, module)
    event = await events.publish(Placed(order="a"))
    await events.drain_once()
    newer = await events.jobs.start(job_of(module), Restock(sku="a"))
    replay = await events.operations.replays.start(TRIGGER, actor="ada")
    await events.drain_once()
    view = await events.operations.replays.get(replay.id)
    assert (view.state, view.done, view.skipped, view.failed) == ("done", 1, 0, 0)
    assert (await events.jobs.get(newer)).state == "pending"
    assert len(await runs(stage)) == 2
    assert await told(events, event) == ("done", None, None)


async def test_a_replay_counts_what_limits_refuse_as_skipped(stage: Stage) -> None:
    before = await stage.idle(Module("shop"))
    await publish(before, [Placed(order="a", number=number) for number in range(4)])
    await before.drain_once()
    events = await asleep(stage, restocking([], dedupe=DEDUPE))
    replay = await events.operations.replays.start(TRIGGER, actor="ada")
    await events.drain_once()
    view = await events.operations.replays.get(replay.id)
    assert (view.state, view.done, view.skipped, view.failed) == ("done", 1, 3, 0)


async def test_a_transaction_that_does_not_end_holds_up_one_event_and_no_batch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_events.store.limited_starts.BRIEFLY", "50")
    module, seen = restocking([], dedupe=DEDUPE), list[int]()

    @module.on(Placed, id="shop.bystander")
    async def bystander(event: Placed) -> None:
        seen.append(event.number)

    events = await asleep(stage, module)
    async with held_key(stage, "a"):
        await publish(events, [Placed(order="a", number=1), Placed(order="b", number=2)])
        await within(events.drain_once())
        assert sorted(seen) == [1, 2]
        assert [run["input"] for run in await runs(stage)] == ['{"sku": "b", "quantity": 2}']
        [waits] = await stage.deliveries()
        assert (waits["handler"], waits["state"], waits["attempts"]) == (TRIGGER, "waiting", 0)
    await stage.make_due()
    await events.drain_once()
    assert len(await runs(stage)) == 2


async def test_two_processes_start_one_run_of_each_key(stage: Stage) -> None:
    first = await stage.running(restocking([], dedupe=DEDUPE), pools=["interactive"])
    await stage.running(restocking([], dedupe=DEDUPE), pools=["interactive"])
    published = [await first.publish(Placed(order=str(number % 5), number=number)) for number in range(60)]
    await until(lambda: dealt_with(first, published))
    assert len(await runs(stage)) == await queued(stage) == 5


async def test_and_start_and_its_trigger_are_one_start(stage: Stage) -> None:
    module = restocking([], dedupe=DEDUPE)
    events = await asleep(stage, module)
    async with events.session() as session:
        published, started = await events.publisher(session).and_start(
            Placed(order="a"), job_of(module), Restock(sku="a", quantity=7)
        )
        await session.commit()
    assert not started.existing
    await events.drain_once()
    assert await told(events, published) == ("done", None, None)
    [run] = await runs(stage)
    assert (run["id"], run["trigger"]) == (started.run, TRIGGER)


async def test_and_start_gives_the_run_that_stands_for_its_own(stage: Stage) -> None:
    module = restocking([], dedupe=DEDUPE)
    events = await asleep(stage, module)
    by_hand = await events.jobs.start(job_of(module), Restock(sku="a"))
    async with events.session() as session:
        published, started = await events.publisher(session).and_start(
            Placed(order="a"), job_of(module), Restock(sku="a")
        )
        await session.commit()
    assert (published.duplicate, started.existing, started.run) == (False, True, by_hand.run)
    await events.drain_once()
    assert len(await runs(stage)) == 1
    assert (await told(events, published))[1] == "skipped"


async def test_and_start_is_rejected_aloud_and_publishes_nothing(stage: Stage) -> None:
    module = restocking([], concurrency=REJECT)
    events = await asleep(stage, module)
    by_hand = await events.jobs.start(job_of(module), Restock(sku="a"))
    async with events.session() as session:
        with pytest.raises(JobCollisionError) as caught:
            await events.publisher(session).and_start(Placed(order="a"), job_of(module), Restock(sku="a"))
        await session.commit()
    assert caught.value.run == by_hand.run
    assert await stage.value("SELECT count(*) FROM events.event") == 0


async def test_by_a_session_of_another_driver_it_is_the_same(stage: Stage) -> None:
    engine = create_async_engine(stage.url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        events = await asleep(stage, restocking([], dedupe=DEDUPE), sessions=async_sessionmaker(engine))
        event = await events.publish(Placed(order="a"))
        again = await events.publish(Placed(order="a"))
        await events.drain_once()
        notes = [(await told(events, one))[2] for one in (event, again)]
        assert sorted(note is None for note in notes) == [False, True]
        assert len(await runs(stage)) == 1
    finally:
        await engine.dispose()
