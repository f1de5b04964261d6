"""Around publishing: whoever publishes, however, it is asked; and nothing is published unless all of it agreed."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from fastapi_events import (
    Delivery,
    EventPublisher,
    Events,
    HandlerSession,
    Middleware,
    Module,
    PublishContext,
    PublishNext,
    RawEvent,
    Retry,
    SyncEventPublisher,
)
from fastapi_events.api.session_binding import bind_sync
from fastapi_events.errors import InvalidPayload, MiddlewareMisuse, PublishError, UnknownOption
from fastapi_events.model.context import flowing
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Pinged, Placed, Shipped, Stage
from tests.middleware.notes import Headers, Noting

ONE = UUID(int=1)


class Hook(Middleware):
    """Does what it is given."""

    def __init__(self, does: Any) -> None:
        self.does = does

    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        await self.does(context, call_next)


async def rows(stage: Stage) -> list[tuple[str, Any, dict[str, str]]]:
    """Name, payload's number and headers of what is in the log."""
    found = await stage.rows("SELECT name, payload, headers FROM events.event ORDER BY position")
    return [(row["name"], json.loads(row["payload"])["number"], json.loads(row["headers"] or "{}")) for row in found]


async def test_every_way_of_publishing_passes_it(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def collected(event: Placed, publish: EventPublisher) -> None:
        await publish(Pinged(number=10))

    @module.on(Placed)
    async def in_session(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await publish(Pinged(number=11))

    @module.on(Placed)
    def in_a_thread(event: Placed, publish: SyncEventPublisher) -> None:
        publish(Pinged(number=12))

    events = await stage.idle(module, middleware=[Headers("by", "all")])
    await events.publish(Placed(order="a"))
    async with events.session() as session:
        publish = events.publisher(session)
        await publish(Placed(order="b", number=1))
        await publish.many([Pinged(number=2), Pinged(number=3)])
        await publish.raw("shop.page.pinged", {"number": 4}, headers={"own": "o"})
        await events.publish(Pinged(number=5), session=session)
        await events.publish(Pinged(number=6), detached=True)
        await session.commit()
    await events.drain_once()
    found = await rows(stage)
    assert sorted(number for _, number, _ in found) == [0, 1, 2, 3, 4, 5, 6, 10, 10, 11, 11, 12, 12]
    assert [headers for _, number, headers in found if number == 4] == [{"own": "o", "by": "all"}]
    assert all(headers["by"] == "all" for _, _, headers in found)


async def test_it_sees_what_the_event_would_get_and_may_change_it(stage: Stage) -> None:
    seen: list[PublishContext] = []

    async def change(context: PublishContext, call_next: PublishNext) -> None:
        seen.append(context)
        with pytest.raises(TypeError):
            context.headers["x"] = "y"  # read-only
        event = Placed(order="changed", number=9)
        changed = context.replace(
            event=event, event_id=ONE, key="k", tenant_id="acme", headers={"h": "1"}, correlation_id=UUID(int=2)
        )
        ids.append(await call_next(changed))

    ids: list[UUID] = []
    events = await stage.idle(middleware=[Hook(change)])
    with flowing(tenant_id="inherited", correlation_id=UUID(int=5)):
        published = await events.publish(Placed(order="a"), causation_id=UUID(int=6))
    assert (published.event_id, ids) == (ONE, [ONE])
    [context] = seen
    assert (context.event, context.event_id, context.key, context.headers) == (Placed(order="a"), None, None, {})
    assert (context.tenant_id, context.correlation_id, context.causation_id) == ("inherited", UUID(int=5), UUID(int=6))
    [row] = await stage.rows("SELECT * FROM events.event")
    assert (row["id"], row["key"], row["tenant_id"]) == (ONE, "acme/order/k", "acme")
    assert (row["correlation_id"], row["causation_id"]) == (UUID(int=2), UUID(int=6))
    assert json.loads(row["payload"])["order"] == "changed"
    again = await events.publish(Placed(order="a"))
    assert again.duplicate


async def test_what_it_leaves_alone_is_inherited_as_without_it(stage: Stage) -> None:
    events = await stage.idle(middleware=[Noting("all", [])])
    with flowing(tenant_id="acme", correlation_id=UUID(int=5), traceparent="00-a-b-01"):
        await events.publish(Placed(order="a"))
    [row] = await stage.rows("SELECT * FROM events.event")
    assert (row["tenant_id"], row["key"], row["correlation_id"]) == ("acme", "acme/order/a", UUID(int=5))
    assert json.loads(row["headers"]) == {"traceparent": "00-a-b-01"}


async def test_it_refuses_by_raising_and_of_many_all(stage: Stage) -> None:
    async def refuse(context: PublishContext, call_next: PublishNext) -> None:
        await call_next(context)
        if isinstance(context.event, Pinged) and context.event.number == 2:
            raise PermissionError("not this one")

    events = await stage.idle(middleware=[Hook(refuse)])
    async with events.session() as session:
        publish = events.publisher(session)
        with pytest.raises(PermissionError):
            await publish.many([Pinged(number=1), Pinged(number=2), Pinged(number=3)])
        with pytest.raises(PermissionError):
            await publish(Pinged(number=2))
        await publish(Pinged(number=4))
        await session.commit()
    assert [number for _, number, _ in await rows(stage)] == [4]


async def test_what_it_makes_of_an_event_is_refused_as_usual(stage: Stage) -> None:
    changes: dict[str, Any] = {}

    async def change(context: PublishContext, call_next: PublishNext) -> None:
        await call_next(context.replace(**changes))

    events = await stage.idle(middleware=[Hook(change)])

    async def refused(error: type[Exception], match: str, **to: Any) -> None:
        changes.clear()
        changes.update(to)
        with pytest.raises(error, match=match):
            await events.publish(Placed(order="a"))

    await refused(InvalidPayload, "NUL", event=Placed(order="\x00"))
    await refused(InvalidPayload, "tenant_id has 600 characters", tenant_id="t" * 600)
    await refused(InvalidPayload, "Header names and values are strings", headers={"a": 1})
    await refused(InvalidPayload, "is not a UUID", event_id="one")
    await refused(PublishError, "has put a str in place of Placed", event="shop.order.placed")
    await refused(PublishError, "a RawEvent by a RawEvent", event=RawEvent("shop.order.placed", 1, {}))
    await refused(UnknownOption, "Did you mean 'headers'", header={})
    assert await rows(stage) == []


async def never(context: PublishContext, call_next: PublishNext) -> None:
    return


async def twice(context: PublishContext, call_next: PublishNext) -> None:
    await call_next(context)
    await call_next(context)


@pytest.mark.parametrize(("does", "says"), [(never, "without having called call_next"), (twice, "call_next twice")])
async def test_it_can_neither_drop_nor_double_an_event(stage: Stage, does: Any, says: str) -> None:
    events = await stage.idle(middleware=[Hook(does)])
    with pytest.raises(MiddlewareMisuse, match=rf"middleware Hook\.publish\(\) .*{says}"):
        await events.publish(Placed(order="a"))
    assert await rows(stage) == []


async def test_it_cannot_keep_a_refusal_to_itself(stage: Stage) -> None:
    async def swallow(context: PublishContext, call_next: PublishNext) -> None:
        try:
            await call_next(context)
        except InvalidPayload:
            return

    events = await stage.idle(middleware=[Hook(swallow)])
    with pytest.raises(InvalidPayload):
        await events.publish(Placed(order="\x00"))


async def test_what_is_no_event_reaches_no_middleware(stage: Stage) -> None:
    notes: list[str] = []
    events = await stage.idle(middleware=[Noting("all", notes)])
    async with events.session() as session:
        publish: Any = events.publisher(session)
        with pytest.raises(PublishError, match="takes an event"):
            await publish("shop.order.placed")
        with pytest.raises(InvalidPayload, match="is no mapping"):
            await publish(Placed(order="a"), headers="h")
    assert notes == []


async def test_an_event_leaves_with_its_transaction_alone(stage: Stage) -> None:
    """What the middleware does after ``call_next`` is before the event joins the transaction."""
    events = await stage.idle(middleware=[Headers("by", "all")])
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a"))
        await session.rollback()
    assert await rows(stage) == []


async def test_that_of_a_module_or_handler_is_around_what_its_handlers_publish(stage: Stage) -> None:
    module, other = Module("shop", middleware=[Headers("module", "m")]), Module("other")

    @module.on(Placed, middleware=[Headers("handler", "h")])
    async def handle(event: Placed, publish: EventPublisher) -> None:
        await publish(Pinged(number=1))

    @other.on(Placed, id="other.handle")
    async def elsewhere(event: Placed, publish: EventPublisher) -> None:
        await publish(Pinged(number=2))

    events = await stage.idle(module, other, middleware=[Headers("all", "a")])
    await events.publish(Placed(order="a"))
    await events.drain_once()
    headers = {number: set(headers) for _, number, headers in await rows(stage)}
    assert headers == {0: {"all"}, 1: {"all", "module", "handler"}, 2: {"all"}}


async def test_children_keep_the_ids_that_follow_from_their_cause(stage: Stage) -> None:
    async def publish_two(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order, number=1))
        await publish(Shipped(order=event.order, number=2))

    ids: list[list[UUID]] = []
    for middleware in ([], [Headers("by", "all")]):
        module = Module("shop")
        module.on(Placed, id="shop.handle")(publish_two)
        events = await stage.idle(module, middleware=middleware)
        await events.publish(Placed(order="a"), event_id=UUID(int=7 + len(ids)))
        await events.drain_once()
        found = await stage.rows(
            "SELECT e.id, count(k.event_id) AS keys FROM events.event e "
            "LEFT JOIN events.event_key k ON k.event_id = e.id "
            "WHERE e.name = 'shop.order.shipped' AND e.causation_id = $1 GROUP BY e.position, e.id ORDER BY e.position",
            UUID(int=7 + len(ids)),
        )
        assert [row["keys"] for row in found] == [0, 0]
        ids.append([row["id"].version for row in found])
        await events.stop()
    assert ids == [[5, 5], [5, 5]]


async def test_a_failed_handlers_children_are_gone_whatever_it_did(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1), middleware=[Headers("by", "handler")])
    async def handle(event: Placed, publish: EventPublisher, delivery: Delivery) -> None:
        await publish(Pinged())
        raise ValueError("no")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert [name for name, _, _ in await rows(stage)] == ["shop.order.placed"]


class TestPlainCalls:
    """A ``SyncEventPublisher`` runs the same middleware, as long as that waits for nothing."""

    @staticmethod
    async def publish(stage: Stage, events: Events, *numbers: int) -> None:
        engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))

        def work() -> None:
            with sessionmaker(engine)() as session:
                publish = bind_sync(events.publishing, session)
                publish(Placed(order="a"))
                publish.many([Pinged(number=number) for number in numbers])
                publish.raw("shop.page.pinged", {"number": 9})
                session.commit()

        try:
            await asyncio.to_thread(work)
        finally:
            engine.dispose()

    async def test_it_runs(self, stage: Stage) -> None:
        events = await stage.idle(middleware=[Headers("by", "all"), Noting("next", [])])
        await self.publish(stage, events, 1, 2)
        found = await rows(stage)
        assert [number for _, number, _ in found] == [0, 1, 2, 9]
        assert all(headers == {"by": "all"} for _, _, headers in found)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_one_that_waits_is_refused_and_nothing_published(self, stage: Stage, when: str) -> None:
        async def wait(context: PublishContext, call_next: PublishNext) -> None:
            if when == "before":
                await asyncio.sleep(0)
            await call_next(context)
            await asyncio.sleep(0)

        events = await stage.idle(middleware=[Hook(wait)])
        with pytest.raises(PublishError) as caught:
            await self.publish(stage, events)
        assert "SyncEventPublisher cannot publish Placed" in str(caught.value)
        assert "Hook.publish()" in str(caught.value)
        assert "EventPublisher in an async def function" in str(caught.value)
        assert await rows(stage) == []
        await events.publish(Placed(order="a"))
        assert len(await rows(stage)) == 1

    async def test_its_error_is_the_callers(self, stage: Stage) -> None:
        async def refuse(context: PublishContext, call_next: PublishNext) -> None:
            raise PermissionError("closed")

        events = await stage.idle(middleware=[Hook(refuse)])
        with pytest.raises(PermissionError, match="closed"):
            await self.publish(stage, events)
