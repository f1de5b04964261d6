"""Handlers with a session: effects, mark and children are one commit; a redelivery finds the mark."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import (
    Delivery,
    EventPublisher,
    HandlerSession,
    Module,
    Retry,
    SyncEventPublisher,
    SyncHandlerSession,
    fixed,
)
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, within

FORGET = """
    INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen)
    SELECT group_id, lane, partition, max(seq) + 1, '1:1:' FROM events.cursor_log GROUP BY group_id, lane, partition
"""
"""What a crash of the server may leave behind: the cursors do not know that the events have been handled."""


async def effects(stage: Stage) -> list[int]:
    return [row["number"] for row in await stage.rows("SELECT number FROM effect ORDER BY number")]


async def test_effects_and_mark_commit_together_and_a_redelivery_is_skipped(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        seen.append(event.number)
        await effect(session, "handle", event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="b", number=2)])
    await events.drain_once()
    assert await effects(stage) == [1, 2]
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 2
    await stage.rows(FORGET)
    assert await events.drain_once() == 2
    assert await effects(stage) == [1, 2]
    assert sorted(seen) == [1, 2]
    assert await stage.deliveries() == []


async def test_a_failed_attempt_leaves_neither_effect_nor_mark_nor_child(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, session: HandlerSession, publish: EventPublisher, delivery: Delivery) -> None:
        await effect(session, "handle", delivery.attempt)
        await publish(Shipped(order=event.order, number=delivery.attempt))
        if delivery.attempt == 1:
            raise ValueError("not yet")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert await effects(stage) == [2]
    assert await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.order.shipped'") == 1
    assert await stage.value("SELECT count(*) FROM events.processing_mark") == 1


@pytest.mark.parametrize("what", ["commit", "rollback", "close"])
async def test_a_handler_may_not_end_its_transaction(stage: Stage, what: str) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", 1)
        await getattr(session, what)()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert f"{what}() was called on a HandlerSession" in dead["error_message"]
    assert "Return to commit, raise to roll back" in dead["error_message"]
    assert await effects(stage) == []


async def test_savepoints_are_free(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        async with session.begin_nested():
            await effect(session, "kept", 1)
            await publish(Shipped(order="kept"))
        nested = await session.begin_nested()
        await effect(session, "dropped", 2)
        await publish(Shipped(order="dropped"))
        await nested.rollback()
        try:
            async with session.begin_nested():
                await effect(session, "clash", 3, "same")
                await effect(session, "clash", 4, "same")
        except IntegrityError:
            return

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert await stage.deliveries() == []
    assert await effects(stage) == [1]
    assert await stage.value("SELECT array_agg(aggregate_id) FROM events.event WHERE name = 'shop.order.shipped'") == [
        "kept"
    ]


async def test_success_after_a_swallowed_database_error_is_no_success(stage: Stage) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with ROLLBACK, without an error."""
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", 1, "same")
        try:
            await effect(session, "handle", 2, "same")
        except IntegrityError:
            return

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert "begin_nested()" in dead["error_message"]
    assert await effects(stage) == []


async def test_the_same_idempotency_key_is_handled_once(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, idempotency_key=lambda event: f"reserve-{event.number}")
    async def with_session(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        seen.append(("session", event.order, delivery.idempotency_key))
        await effect(session, "session", event.number)

    @module.on(Placed, idempotency_key=lambda event: f"mail-{event.number}")
    async def plain(event: Placed) -> None:
        seen.append(("plain", event.order, ""))

    events = await stage.idle(module)
    for order in ("a", "b"):
        await publish(events, [Placed(order=order, number=1)])
        await events.drain_once()
    await publish(events, [Placed(order="c", number=2)])
    await events.drain_once()
    assert sorted(seen) == [
        ("plain", "a", ""), ("plain", "c", ""), ("session", "a", "reserve-1"), ("session", "c", "reserve-2"),
    ]  # fmt: skip
    assert await effects(stage) == [1, 2]


async def test_without_a_key_the_idempotency_key_is_the_event_id(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, delivery: Delivery) -> None:
        seen.append((delivery.idempotency_key, str(delivery.event_id)))

    events = await stage.idle(module)
    published = await events.publish(Placed(order="a"))
    await events.drain_once()
    assert seen == [(str(published.event_id), str(published.event_id))]


async def test_children_of_a_plain_handler_appear_only_with_its_success(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(3, fixed(0)))
    async def parent(event: Placed, publish: EventPublisher, delivery: Delivery) -> None:
        await publish(Shipped(order=event.order, number=1))
        await publish(Shipped(order=event.order, number=2))
        seen.append(await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.order.shipped'"))
        if delivery.attempt < 2:
            raise ValueError("not yet")

    @module.on(Shipped)
    async def child(event: Shipped, delivery: Delivery) -> None:
        seen.append((event.number, delivery.causation_id))

    events = await stage.idle(module)
    published = await events.publish(Placed(order="a"))
    await events.drain_once()
    assert seen == [0, 0, (1, published.event_id), (2, published.event_id)]


async def test_children_of_a_def_handler_are_published_by_plain_calls(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    def parent(event: Placed, publish: SyncEventPublisher) -> None:
        publish(Shipped(order=event.order, number=1))

    @module.on(Shipped)
    def child(event: Shipped) -> None:
        seen.append(event.number)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert seen == [1]


@pytest.mark.parametrize("transactional", [True, False], ids=["transactional", "plain"])
async def test_the_ids_of_children_follow_from_event_handler_and_ordinal(stage: Stage, transactional: bool) -> None:
    module = Module("shop")
    ids: dict[int, list[UUID]] = {}

    async def work(publish: EventPublisher, delivery: Delivery) -> None:
        ids[delivery.attempt] = [(await publish(Shipped(order="a", number=number))).event_id for number in range(3)]
        if delivery.attempt == 1:
            raise ValueError("not yet")

    async def with_session(event: Placed, _: HandlerSession, publish: EventPublisher, delivery: Delivery) -> None:
        await work(publish, delivery)

    async def without(event: Placed, publish: EventPublisher, delivery: Delivery) -> None:
        await work(publish, delivery)

    module.on(Placed, id="shop.parent", retry=Retry(2, fixed(0)))(with_session if transactional else without)
    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert ids[1] == ids[2]
    assert len(set(ids[1])) == 3
    stored = await stage.rows("SELECT id FROM events.event WHERE name = 'shop.order.shipped' ORDER BY position")
    assert [row["id"] for row in stored] == ids[1]


async def test_children_inherit_correlation_tenant_and_depth(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def parent(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order))
        await publish(Shipped(order=event.order, number=1), tenant_id="other")

    events = await stage.idle(module)
    published = await events.publish(Placed(order="a"), tenant_id="acme")
    await events.drain_once()
    [first, inherited, told] = await stage.rows("SELECT * FROM events.event ORDER BY position")
    assert inherited["correlation_id"] == first["correlation_id"] == told["correlation_id"]
    assert (inherited["causation_id"], inherited["tenant_id"], inherited["depth"]) == (published.event_id, "acme", 1)
    assert told["tenant_id"] == "other"


async def test_a_cascade_without_end_ends(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def there(event: Placed, publish: EventPublisher) -> None:
        seen.append(1)
        await publish(Shipped(order=event.order))

    @module.on(Shipped)
    async def back(event: Shipped, publish: EventPublisher) -> None:
        await publish(Placed(order=event.order))

    events = await stage.idle(module, cascade_depth=6)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 20)
    [dead] = await stage.deliveries()
    assert (dead["state"], dead["reason"], len(seen)) == ("dead", "cascade_limit", 4)


@pytest.mark.parametrize("kind", ["simple", "with delivery", "transactional", "def"])
async def test_a_publish_that_would_leave_the_handler_is_refused(stage: Stage, kind: str) -> None:
    module = Module("shop")
    told: list[Any] = []

    async def detached() -> None:
        await events.publish(Shipped(order="a"))

    async def simple(event: Placed) -> None:
        await detached()

    async def with_delivery(event: Placed, delivery: Delivery) -> None:
        await detached()

    async def transactional(event: Placed, session: HandlerSession) -> None:
        await detached()

    def in_thread(event: Placed) -> None:
        told.append(asyncio.run_coroutine_threadsafe(detached(), loop))
        asyncio.run(detached())

    loop = asyncio.get_running_loop()
    handlers = {"simple": simple, "with delivery": with_delivery, "transactional": transactional, "def": in_thread}
    module.on(Placed, id="shop.handle", retry=Retry(1))(handlers[kind])
    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once(), 10)
    if kind == "def":
        return
    [dead] = await stage.deliveries()
    assert dead["error_type"].endswith("DetachedPublish")
    assert "handler 'shop.handle'" in dead["error_message"]


async def test_the_applications_own_session_class_is_the_base_of_handlers_sessions(stage: Stage) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    class Own(AsyncSession):
        async def greet(self) -> str:
            return "hello"

    engine = create_async_engine(sqlalchemy_url(stage.url))
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        assert isinstance(session, Own)
        seen.append(await session.greet())
        await effect(session, "own", 1)

    try:
        events = await stage.idle(module, sessions=async_sessionmaker(engine, class_=Own))
        await events.publish(Placed(order="a"))
        await events.drain_once()
        assert seen == ["hello"]
        assert await effects(stage) == [1]
        await events.stop()
    finally:
        await engine.dispose()


class SyncStage:
    def __init__(self, url: str) -> None:
        self.engine = create_engine(sqlalchemy_url(url, "psycopg"))
        self.sessions = sessionmaker(self.engine)


async def test_def_handlers_take_a_sync_session_under_the_same_rules(stage: Stage) -> None:
    from sqlalchemy import text

    module, attempts = Module("shop"), []

    def write(session: Session, number: int) -> None:
        session.execute(text("INSERT INTO effect VALUES ('sync', :number)"), {"number": number})

    @module.on(Placed, retry=Retry(2, fixed(0)))
    def handle(event: Placed, session: SyncHandlerSession, publish: SyncEventPublisher, delivery: Delivery) -> None:
        attempts.append((event.number, delivery.attempt))
        write(session, event.number)
        publish(Shipped(order=event.order))
        if event.number == 1 and delivery.attempt == 1:
            raise ValueError("not yet")
        if event.number == 3:
            session.commit()

    own = SyncStage(stage.url)
    try:
        events = await stage.idle(module, sync_sessions=own.sessions)
        await publish(events, [Placed(order=str(number), number=number) for number in (1, 2, 3)])
        await events.drain_once()
        assert await effects(stage) == [1, 2]
        assert await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.order.shipped'") == 2
        [dead] = await stage.deliveries("dead")
        assert "commit() was called on a HandlerSession" in dead["error_message"]
        await stage.rows(FORGET)
        await events.drain_once()
        assert await effects(stage) == [1, 2]
        await events.stop()
    finally:
        own.engine.dispose()


async def test_a_sync_transaction_that_is_stuck_past_its_time_out_holds_up_nobody(stage: Stage) -> None:
    import threading

    from sqlalchemy import text

    module, seen, release = Module("shop"), [], threading.Event()

    @module.on(Placed, retry=Retry(1), timeout=0.5)
    def handle(event: Placed, session: SyncHandlerSession) -> None:
        session.execute(text("INSERT INTO effect VALUES ('sync', 1)"))
        if event.order == "stuck":
            release.wait(20)
        seen.append(event.order)

    own = SyncStage(stage.url)
    try:
        events = await stage.idle(module, sync_sessions=own.sessions)
        await publish(events, [Placed(order="stuck"), Placed(order="a")])
        await within(events.drain_once(), 6)
        assert seen == ["a"]
        [dead] = await stage.deliveries()
        assert (dead["state"], dead["reason"]) == ("dead", "timed_out")
        release.set()
        await events.stop()
        assert await effects(stage) == [1]
    finally:
        release.set()
        own.engine.dispose()
