"""``publish.and_start``: event and run in one transaction, and the run is the one that the event's trigger starts."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from fastapi_events import (
    EventPublisher,
    HandlerSession,
    JobContext,
    Module,
    SyncEventPublisher,
    Trigger,
    deterministic_id,
)
from fastapi_events.errors import ContradictoryOptions, InvalidInput, MissingTenantIdError, UnknownJob, UnknownOption
from tests.delivery.stage import Placed, Shipped, Stage, effect, until, within
from tests.jobs.triggered import TRIGGER, Restock, job_of, made, queued, restocking, runs

ORDER = Placed(order="a", number=1)


async def test_both_are_there_with_the_commit_and_the_trigger_starts_no_second_run(stage: Stage) -> None:
    seen: list[Any] = []
    module = restocking(seen)
    events = await stage.idle(module)
    async with events.session() as session:
        publish = events.publisher(session)
        await publish.and_start(ORDER, job_of(module), Restock(sku="lost"))
        await session.rollback()
        published, started = await publish.and_start(
            ORDER, job_of(module), Restock(sku="given"), tenant_id="acme", priority=3, tags=["fast"]
        )
        assert (published.duplicate, started.existing) == (False, False)
        assert await runs(stage) == []
        await session.commit()
    [run] = await runs(stage)
    assert (run["id"], run["event_id"], run["trigger"]) == (started.run, published.event_id, TRIGGER)
    assert (run["source"], run["source_ref"]) == ("event", str(published.event_id))
    assert (run["causation_id"], run["tenant_id"], run["depth"]) == (published.event_id, "acme", 1)
    assert (run["priority"], run["tags"]) == (3, ["fast"])
    await events.drain_once()
    assert seen == ["given"]
    assert [run["id"] for run in await runs(stage)] == [started.run]
    assert await events.jobs.result(started, timeout=1) is None


async def test_both_paths_inherit_the_same(stage: Stage) -> None:
    module = restocking([])
    events = await stage.idle(module)
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with events.session() as session:
        publish = events.publisher(session)
        await publish(ORDER, headers=headers, correlation_id=uuid4())
        await publish.and_start(ORDER, job_of(module), made(ORDER), headers=headers, correlation_id=uuid4())
        await session.commit()
    await events.drain_once()
    inherited = await stage.rows(
        "SELECT r.correlation_id = e.correlation_id AND r.causation_id = e.id AND r.tenant_id IS NOT DISTINCT FROM "
        "e.tenant_id AND r.actor IS NOT DISTINCT FROM e.actor AND r.depth = e.depth + 1 AND r.input->>'sku' = 'a' "
        "AND r.traceparent = e.headers->>'traceparent' AND r.source_ref = e.id::text AS same "
        "FROM events.run r JOIN events.event e ON e.id = r.event_id"
    )
    assert [row["same"] for row in inherited] == [True, True]


async def test_without_a_trigger_it_is_both(stage: Stage) -> None:
    seen: list[Any] = []
    module = restocking(seen, triggers=[])
    events = await stage.idle(module)
    upstream = deterministic_id("shop", "1")
    for again in (False, True):
        async with events.session() as session:
            published, started = await events.publisher(session).and_start(
                ORDER, job_of(module), Restock(sku="given"), event_id=upstream
            )
            await session.commit()
        assert (published.event_id, published.duplicate, started.existing) == (upstream, again, again)
    await events.drain_once()
    assert seen == ["given"]
    [run] = await runs(stage)
    assert (run["id"], run["event_id"], run["trigger_id"]) == (started.run, upstream, None)


async def test_of_several_triggers_one_is_named_and_the_others_start_theirs(stage: Stage) -> None:
    seen: list[Any] = []
    other = Trigger(Placed, map=lambda event: Restock(sku=f"other {event.order}"), id="shop.other")
    module = restocking(seen, triggers=[Trigger(Placed, map=made), other])
    job = job_of(module)
    events = await stage.idle(module)
    async with events.session() as session:
        publish = events.publisher(session)
        with pytest.raises(
            ContradictoryOptions, match=rf"2 triggers of job 'shop.restock' hear .*: {TRIGGER}, shop.ot"
        ):
            await publish.and_start(ORDER, job, Restock(sku="given"))
        with pytest.raises(ContradictoryOptions, match=r"trigger='elsewhere' is no trigger of job .* Those are: "):
            await publish.and_start(ORDER, job, Restock(sku="given"), trigger="elsewhere")
        with pytest.raises(ContradictoryOptions, match=r"on 'shop.order.shipped'. It has none: leave trigger= out"):
            await publish.and_start(Shipped(order="a"), job, Restock(sku="given"), trigger=other)
        await publish.and_start(ORDER, job, Restock(sku="by value"), trigger=other)
        await publish.and_start(ORDER, job, Restock(sku="by id"), trigger=TRIGGER)
        await session.commit()
    await events.drain_once()
    assert sorted(seen) == ["a", "by id", "by value", "other a"]


async def test_what_cannot_be_started_is_refused_before_any_sql(stage: Stage) -> None:
    module = restocking([])
    job: Any = job_of(module)
    events = await stage.idle(module, multi_tenant=True)
    async with events.session() as session:
        publish: Any = events.publisher(session)
        with pytest.raises(MissingTenantIdError):
            await publish.and_start(ORDER, job, Restock(sku="a"))
        given = {"tenant_id": None}
        with pytest.raises(InvalidInput, match=r"takes Restock, and was given"):
            await publish.and_start(ORDER, job, "a", **given)
        with pytest.raises(InvalidInput, match=r"takes an event, a job and its input, not <function"):
            await publish.and_start(ORDER, job.function, Restock(sku="a"), **given)
        with pytest.raises(
            ContradictoryOptions, match=r"takes no delay= or at=.*declare a trigger on job 'shop.restock'"
        ):
            await publish.and_start(ORDER, job, Restock(sku="a"), delay=5, **given)
        with pytest.raises(UnknownOption, match=r"no option 'priorty'. Did you mean 'priority'"):
            await publish.and_start(ORDER, job, Restock(sku="a"), priorty=5, **given)
        with pytest.raises(UnknownJob, match=r"belongs to no module"):
            await publish.and_start(ORDER, job_of(restocking([], name="no.where")), Restock(sku="a"), **given)
        assert not session.in_transaction()
        await publish.and_start(ORDER, job, Restock(sku="a"), **given)
        await session.commit()
    assert [run["tenant_id"] for run in await runs(stage)] == [None]


async def test_a_handler_publishes_and_starts_with_its_delivery(stage: Stage) -> None:
    seen: list[Any] = []
    module = restocking(seen, triggers=[Trigger(Shipped, map=lambda event: Restock(sku="by the trigger"))])
    job, broken = job_of(module), [True, True]

    @module.on(Placed, id="shop.plain")
    async def plain(event: Placed, publish: EventPublisher) -> None:
        await publish.and_start(Shipped(order=event.order), job, Restock(sku="plain"))
        if len(broken) == 2 and broken.pop():
            raise ValueError("not yet")

    @module.on(Placed, id="shop.transactional")
    async def transactional(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await effect(session, "transactional", 1)
        await publish.and_start(Shipped(order=event.order), job, Restock(sku="transactional"))

    @module.on(Placed, id="shop.sync")
    def in_thread(event: Placed, publish: SyncEventPublisher) -> None:
        publish.and_start(Shipped(order=event.order), job, Restock(sku="sync"))

    events = await stage.idle(module)
    await events.publish(ORDER)
    await events.drain_once()
    assert sorted(seen) == ["plain", "sync", "transactional"]
    assert {run["depth"] for run in await runs(stage)} == {2}


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_where_both_paths_meet_there_is_one_run(stage: Stage, ends: str) -> None:
    """The event is there, and being handled, while a second request starts the run of it."""
    seen: list[Any] = []
    module = restocking(seen)
    events = await stage.idle(module)
    upstream = deterministic_id("shop", "1")
    await events.publish(ORDER, event_id=upstream)
    async with events.session() as session:
        published, started = await events.publisher(session).and_start(
            ORDER, job_of(module), Restock(sku="by the request"), event_id=upstream
        )
        assert (published.duplicate, started.existing) == (True, False)
        working = asyncio.create_task(events.drain_once())
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await until(lambda: stage.value(waiting), "the drain at the request's run")
        await (session.commit() if ends == "commit" else session.rollback())
    await within(working)
    await events.drain_once()
    assert seen == ["by the request" if ends == "commit" else "a"]
    assert [run["id"] for run in await runs(stage)] == [started.run]
    assert await queued(stage) == 0


async def test_a_start_after_the_trigger_finds_its_run(stage: Stage) -> None:
    seen: list[Any] = []
    module = restocking(seen)
    events = await stage.idle(module)
    upstream = deterministic_id("shop", "1")
    await events.publish(ORDER, event_id=upstream)
    await events.drain_once()
    async with events.session() as session:
        published, started = await events.publisher(session).and_start(
            ORDER, job_of(module), Restock(sku="by the request"), event_id=upstream
        )
        assert (published.duplicate, started.existing) == (True, True)
        await session.commit()
    await events.drain_once()
    assert (seen, [run["id"] for run in await runs(stage)]) == (["a"], [started.run])


async def test_many_requests_race_with_two_processes(stage: Stage) -> None:
    seen: list[Any] = []
    first = await stage.running(restocking(seen))
    second = await stage.running(module := restocking(seen))
    ids = [deterministic_id("shop", str(number)) for number in range(30)]

    async def request(number: int, *, starts: bool) -> None:
        events, order = (first, second)[number % 2], Placed(order=str(number), number=number)
        async with events.session() as session:
            publish = events.publisher(session)
            if starts:
                await publish.and_start(order, job_of(module), made(order), event_id=ids[number])
            else:
                await publish(order, event_id=ids[number])
            await session.commit()

    for chunk in range(0, 30, 5):
        numbers = range(chunk, chunk + 5)
        await asyncio.gather(*(request(n, starts=starts) for n in numbers for starts in (True, False, True)))
    await until(lambda: len(seen) >= 30)
    await until(lambda: all_ended(stage))
    assert sorted(map(int, seen)) == list(range(30))
    assert {run["event_id"] for run in await runs(stage)} == set(ids)


async def all_ended(stage: Stage) -> bool:
    return await queued(stage) == 0 and await stage.value("SELECT count(*) FROM events.run_end") == 30


async def test_a_started_run_is_read_by_its_job_as_any_other(stage: Stage) -> None:
    shop, seen = Module("shop"), []

    @shop.job("shop.restock", triggers=[Trigger(Placed, map=made)])
    async def restock(job: JobContext[Restock]) -> int:
        seen.append((job.run.tenant_id, job.run.parent_id, job.attempt))
        return job.input.quantity

    events = await stage.running(shop)
    async with events.session() as session:
        _, started = await events.publisher(session).and_start(ORDER, restock, Restock(sku="a"), tenant_id="acme")
        await session.commit()
    assert await within(events.jobs.result(started, timeout=10)) == 1
    assert seen == [("acme", None, 1)]
