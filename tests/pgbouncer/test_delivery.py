"""Events through a real PgBouncer in transaction mode: what holds without it holds behind it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from fastapi_events import (
    Delivery,
    EventPublisher,
    HandlerSession,
    Module,
    Retry,
    SyncHandlerSession,
    fixed,
)
from tests.conftest import NewDatabase
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, effect, publish, until
from tests.pgbouncer.pooler import SERVERS, PgBouncer, PooledStage

QUICK_POLLS: dict[str, Any] = {"poll_interval": 0.1, "poll_interval_degraded": 0.1}


async def test_an_app_installs_its_schema_publishes_and_handles(pooler: PgBouncer, new_database: NewDatabase) -> None:
    url = await new_database(schema=False)
    stage, module, seen = Stage(url), Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    try:
        options = {"database_url": pooler.url_of(url), "pgbouncer": True, "auto_upgrade": True, **QUICK_POLLS}
        events = await stage.running(module, **options)
        assert not events.runtime.listening
        await publish(events, [Placed(order="a", number=number) for number in range(3)])
        await until(lambda: seen == [0, 1, 2])
        assert (await events.health()).ready
    finally:
        await stage.close()


@pytest.mark.parametrize("engine", ["the library's", "asyncpg", "psycopg"])
async def test_effects_marks_and_children_commit_together(
    stage: PooledStage, caplog: pytest.LogCaptureFixture, engine: str
) -> None:
    module, shipped = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await effect(session, "handle", event.number, label=str(event.number))
        await publish(Shipped(order=event.order, number=event.number))

    @module.on(Shipped)
    async def ship(event: Shipped) -> None:
        shipped.append(event.number)

    sessions = None if engine == "the library's" else stage.sessions(engine)
    events = await stage.running(module, sessions=sessions, **QUICK_POLLS)
    for number in range(20):
        await publish(events, [Placed(order=f"order {number % 7}", number=number)])
    await until(lambda: len(shipped) == 20)
    assert sorted(shipped) == list(range(20))
    assert await stage.value("SELECT array_agg(number ORDER BY number) FROM effect") == list(range(20))
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 20
    assert not [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_plain_sessions_of_another_driver(stage: PooledStage) -> None:
    module = Module("shop")

    @module.on(Placed)
    def handle(event: Placed, session: SyncHandlerSession) -> None:
        row = {"number": event.number, "label": str(event.number)}
        session.execute(text("INSERT INTO effect VALUES ('handle', :number, :label)"), row)

    events = await stage.idle(module, sync_sessions=stage.sync_sessions())
    await publish(events, [Placed(order=f"order {number}", number=number) for number in range(20)])
    assert await events.drain_once() == 20
    assert await stage.value("SELECT array_agg(number ORDER BY number) FROM effect") == list(range(20))
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 20


async def test_retries_dead_letters_and_redrives(stage: PooledStage) -> None:
    module, broken = Module("shop"), True
    calls: dict[str, list[int]] = {"plain": [], "transactional": []}

    @module.on(Placed, retry=Retry(3, fixed(0)))
    async def plain(event: Placed, delivery: Delivery) -> None:
        calls["plain"].append(delivery.attempt)
        if broken:
            raise ValueError("not yet")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def transactional(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        calls["transactional"].append(delivery.attempt)
        await effect(session, "transactional", event.number, label="once")
        if broken:
            await session.execute(text("SELECT 1 / 0"))

    events = await stage.running(module, sessions=stage.sessions(), **QUICK_POLLS)
    await publish(events, [Placed(order="a", number=1)])
    await until(lambda: dead_count(stage, 2))
    assert calls == {"plain": [1, 2, 3], "transactional": [1, 2]}
    assert await stage.value("SELECT count(*) FROM effect") == 0
    page = await events.observe.dead_letters()
    assert {letter.handler for letter in page.dead_letters} == {"shop.plain", "shop.transactional"}
    broken = False
    changed = await events.operations.redrive_matching(changed_before=datetime.now(UTC), actor="tester")
    assert changed.changed == 2
    await until(lambda: dead_count(stage, 0))
    await until(lambda: done_count(stage, 2))
    assert await stage.value("SELECT array_agg(number) FROM effect") == [1]
    assert [action.action for action in await events.operations.actions()] == ["redrive"]


async def test_many_clients_publish_at_once_over_few_server_connections(
    stage: PooledStage, caplog: pytest.LogCaptureFixture
) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number, label=str(event.number))

    @module.on(Placed)
    async def plain(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.running(module, sessions=stage.sessions(), **QUICK_POLLS)

    async def through_sessions(first: int) -> None:
        for number in range(first, first + 50):
            async with events.session() as session:
                await events.publish(Placed(order=f"order {number % 17}", number=number), session=session)
                await session.commit()

    async def through_asyncpg(first: int) -> None:
        connection = await asyncpg.connect(stage.pooler.url, statement_cache_size=0)
        for number in range(first, first + 50):
            async with connection.transaction():
                await events.publish(Placed(order=f"order {number % 17}", number=number), session=connection)
        await connection.close()

    await asyncio.gather(*map(through_sessions, (0, 50, 100, 150)), *map(through_asyncpg, (200, 250)))
    await until(lambda: len(seen) == 300)
    assert sorted(seen) == list(range(300))
    await until(lambda: effect_count(stage, 300))
    assert len(await stage.servers()) <= SERVERS, await stage.servers()
    assert stage.pooler.log.count("login attempt") > 2 * SERVERS
    assert "unclean server" not in stage.pooler.log  # each client has ended what it had begun
    assert not [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_two_instances_share_the_work_and_nothing_is_done_twice(stage: PooledStage) -> None:
    hands: dict[str, list[int]] = {"one": [], "other": []}

    def module(hand: str) -> Module:
        module = Module("shop")

        @module.on(Placed)
        async def handle(event: Placed, session: HandlerSession) -> None:
            hands[hand].append(event.number)
            await effect(session, hand, event.number, label=str(event.number))

        return module

    one = await stage.running(module("one"), sessions=stage.sessions(), **QUICK_POLLS)
    await stage.running(module("other"), sessions=stage.sessions(), **QUICK_POLLS)
    published = 0
    while published < 200 or not (hands["one"] and hands["other"]):
        numbers = range(published, published + 50)
        await publish(one, [Placed(order=f"order {number % 40}", number=number) for number in numbers])
        published += 50
        await until(lambda: effect_count(stage, published))  # noqa: B023
    assert sorted(hands["one"] + hands["other"]) == list(range(published))
    assert await stage.deliveries() == []


async def test_without_an_address_to_listen_at_polling_finds_what_others_published(stage: PooledStage) -> None:
    module, seen = Module("shop"), []

    @module.on(Pinged)
    async def handle(event: Pinged) -> None:
        seen.append(event.number)

    events = await stage.running(module, **QUICK_POLLS)
    publisher = await stage.idle()
    await publisher.publish(Pinged(number=1))
    await until(lambda: seen == [1])
    assert not events.runtime.listening
    assert {worker.wake_up for worker in await events.observe.workers()} == {"polling", "off"}


@pytest.mark.parametrize("notify", ["after_commit", "transactional"])
async def test_with_a_direct_address_to_listen_at_a_commit_through_the_pooler_wakes(
    stage: PooledStage, notify: str
) -> None:
    module, seen = Module("shop"), []

    @module.on(Pinged)
    async def handle(event: Pinged) -> None:
        seen.append(event.number)

    events = await stage.running(module, listen_database_url=stage.url, **SLOW)
    publisher = await stage.idle(notify=notify, **SLOW)
    assert events.runtime.listening
    for number in range(5):
        await publisher.publish(Pinged(number=number))
        await until(lambda: seen == list(range(number + 1)))  # noqa: B023


async def dead_count(stage: Stage, expected: int) -> bool:
    return len(await stage.deliveries("dead")) == expected


async def done_count(stage: Stage, expected: int) -> bool:
    return len(await stage.deliveries("done")) == expected


async def effect_count(stage: Stage, expected: int) -> bool:
    return bool(await stage.value("SELECT count(*) FROM effect") == expected)


@pytest.mark.parametrize("engine", ["the library's", "asyncpg", "psycopg"])
async def test_scheduled_events_come_once_and_can_be_taken_back(stage: PooledStage, engine: str) -> None:
    module, seen = Module("shop"), []

    @module.on(Pinged)
    async def handle(event: Pinged) -> None:
        seen.append(event.number)

    sessions = None if engine == "the library's" else stage.sessions(engine)
    movers = [await stage.running(module, sessions=sessions, **QUICK_POLLS) for _ in range(2)]
    async with movers[0].session() as session:
        publisher = movers[0].publisher(session)
        gone = await publisher(Pinged(number=-1), delay=3600)
        await publisher.many([Pinged(number=number) for number in range(20)], delay=0.05)
        await session.commit()
        assert await publisher.cancel(gone.event_id)
        await session.commit()
    await until(lambda: len(seen) == 20)
    assert sorted(seen) == list(range(20))
    assert await stage.value("SELECT count(*) FROM events.scheduled_event") == 0
    kept = await movers[0].publish(Pinged(number=-2), delay=3600)
    assert await movers[1].operations.cancel_scheduled(kept.event_id, actor="ann")
