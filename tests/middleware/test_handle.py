"""Around the call of a handler: in its transaction, and unable to make a success of a failure, or of nothing."""

import asyncio
import contextlib
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import Depends
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import (
    DeadLetter,
    Discard,
    EventPublisher,
    HandleContext,
    HandleNext,
    HandlerSession,
    Middleware,
    Module,
    RawEvent,
    Retry,
    RetryLater,
    SyncEventPublisher,
    SyncHandlerSession,
    fixed,
)
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, effect, publish, until, within

place: ContextVar[str] = ContextVar("place", default="outside")
left: list[asyncio.Future[None]] = []


class Hook(Middleware):
    """Does what it is given."""

    def __init__(self, does: Any) -> None:
        self.does = does

    async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
        await self.does(context, call_next)


async def effects(stage: Stage) -> list[int]:
    return [row["number"] for row in await stage.rows("SELECT number FROM effect ORDER BY number")]


async def test_it_sees_the_call(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def look(context: HandleContext, call_next: HandleNext) -> None:
        assert await call_next(context) is None
        seen.append(context)

    @module.on(Placed, id="shop.reserve", middleware=[Hook(look)], idempotency_key=lambda e: f"r-{e.order}")
    async def handle(event: Placed, session: HandlerSession) -> None:
        seen.append(session)

    events = await stage.idle(module)
    published = await events.publish(Placed(order="a", number=1), headers={"x": "y"}, tenant_id="acme")
    await events.drain_once()
    session, context = seen
    assert (context.handler, context.name, context.version) == ("shop.reserve", "shop.order.placed", 1)
    assert (context.event, context.event_id) == (Placed(order="a", number=1), published.event_id)
    assert (context.attempt, context.redelivered, context.idempotency_key) == (1, False, "r-a")
    assert (context.tenant_id, context.headers) == ("acme", {"x": "y"})
    assert context.session is session
    assert context.deadline > context.published_at


async def test_what_it_raises_after_the_call_rolls_back_effects_and_children(stage: Stage) -> None:
    module = Module("shop")

    async def refuse_once(context: HandleContext, call_next: HandleNext) -> None:
        await call_next(context)
        if context.attempt == 1:
            raise ValueError("not this time")

    @module.on(Placed, retry=Retry(2, fixed(0)), middleware=[Hook(refuse_once)])
    async def handle(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await effect(session, "handle", event.number)
        await publish(Shipped(order=event.order))

    @module.on(Placed, id="shop.plain", retry=Retry(2, fixed(0)), middleware=[Hook(refuse_once)])
    async def plain(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order))

    events = await stage.idle(module)
    await events.publish(Placed(order="a", number=7))
    await events.drain_once()
    assert await effects(stage) == [7]
    assert await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.order.shipped'") == 2
    assert [(row["state"], row["attempts"]) for row in await stage.deliveries()] == [("done", 2), ("done", 2)]


async def test_an_error_before_the_call_keeps_the_handler_from_running(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def refuse(context: HandleContext, call_next: HandleNext) -> None:
        raise PermissionError("closed")

    @module.on(Placed, retry=Retry(2, fixed(0)), middleware=[Hook(refuse)])
    async def handle(event: Placed) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["attempts"]) == ("dead", "max_attempts", 2)
    assert (row["error_type"], row["error_message"]) == ("PermissionError", "closed")
    assert seen == []


@pytest.mark.parametrize(
    ("raised", "state", "reason"),
    [
        (Discard("a test order"), "discarded", "rejected_by_handler"),
        (DeadLetter("hopeless"), "dead", "rejected_by_handler"),
        (RetryLater(3600), "waiting", "retry"),
    ],
    ids=["discard", "dead letter", "retry later"],
)
async def test_it_steers_as_a_handler_does(stage: Stage, raised: Exception, state: str, reason: str) -> None:
    module, seen = Module("shop"), []

    async def steer(context: HandleContext, call_next: HandleNext) -> None:
        raise raised

    @module.on(Placed, middleware=[Hook(steer)])
    async def handle(event: Placed, session: HandlerSession) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"]) == (state, reason)
    assert seen == []


async def test_it_can_put_another_error_in_place_of_the_handlers(stage: Stage) -> None:
    module = Module("shop")

    async def translate(context: HandleContext, call_next: HandleNext) -> None:
        try:
            await call_next(context)
        except KeyError as error:
            raise Discard("unknown here") from error

    @module.on(Placed, middleware=[Hook(translate)])
    async def handle(event: Placed) -> None:
        raise KeyError(event.order)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [row] = await stage.deliveries()
    assert (row["state"], row["note"]) == ("discarded", "unknown here")


async def test_it_cannot_keep_an_error_to_itself(stage: Stage) -> None:
    module = Module("shop")

    async def swallow(context: HandleContext, call_next: HandleNext) -> None:
        with contextlib.suppress(ValueError):
            await call_next(context)

    @module.on(Placed, retry=Retry(1), middleware=[Hook(swallow)])
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", 1)
        raise ValueError("half done")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [row] = await stage.deliveries()
    assert (row["state"], row["error_message"]) == ("dead", "half done")
    assert await effects(stage) == []


async def never(context: HandleContext, call_next: HandleNext) -> None:
    return


async def twice(context: HandleContext, call_next: HandleNext) -> None:
    await call_next(context)
    await call_next(context)


async def unfinished(context: HandleContext, call_next: HandleNext) -> None:
    left.append(asyncio.ensure_future(call_next(context)))
    await asyncio.sleep(0)


async def something_else(context: HandleContext, call_next: HandleNext) -> None:
    await call_next(context.event)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (never, "returned without having called call_next"),
        (twice, "called call_next twice"),
        (unfinished, "returned before call_next had finished"),
        (something_else, "gave call_next a Placed that is not its own context"),
    ],
)
async def test_it_cannot_make_a_success_of_anything_but_one_call(stage: Stage, does: Any, says: str) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1), middleware=[Hook(does)])
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", 1)
        if does is unfinished:
            await asyncio.Event().wait()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    [row] = await stage.deliveries()
    assert row["state"] == "dead"
    assert row["error_type"].endswith("MiddlewareMisuse")
    assert "middleware Hook.handle()" in row["error_message"]
    assert says in row["error_message"]
    assert await effects(stage) == []
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    left.clear()


async def test_a_call_that_comes_late_does_nothing(stage: Stage) -> None:
    module, seen, late = Module("shop"), [], []

    async def leave(context: HandleContext, call_next: HandleNext) -> None:
        late.append(lambda: call_next(context))

    @module.on(Placed, retry=Retry(1), middleware=[Hook(leave)])
    async def handle(event: Placed) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    with pytest.raises(Exception, match="called call_next after it had returned"):
        await late[0]()
    assert seen == []


async def test_another_delivery_context_is_refused(stage: Stage) -> None:
    module, seen, kept = Module("shop"), [], []

    async def mix_up(context: HandleContext, call_next: HandleNext) -> None:
        kept.append(context)
        await call_next(kept[0])

    @module.on(Placed, retry=Retry(1), middleware=[Hook(mix_up)])
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2)])
    await events.drain_once()
    assert seen == [1]
    assert [row["error_type"] for row in await stage.deliveries()] == ["fastapi_events.errors.MiddlewareMisuse"]


async def test_it_can_replace_the_event_by_one_of_its_class(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def double(context: HandleContext, call_next: HandleNext) -> None:
        event = context.event
        await call_next(context.replace(event=event.model_copy(update={"number": event.number * 2})))

    async def swap(context: HandleContext, call_next: HandleNext) -> None:
        await call_next(context.replace(event=RawEvent("shop.page.pinged", 1, {})))

    @module.on(Placed, middleware=[Hook(double)])
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    @module.on(Pinged, retry=Retry(1), middleware=[Hook(swap)])
    async def pinged(event: Pinged) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=4), Pinged()])
    await events.drain_once()
    assert seen == [8]
    [row] = await stage.deliveries()
    assert "has put a RawEvent in place of the Pinged" in row["error_message"]


async def test_dependencies_are_made_inside_and_see_its_context(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def here(context: HandleContext, call_next: HandleNext) -> None:
        token = place.set("here")
        try:
            await call_next(context)
        finally:
            place.reset(token)
            seen.append("out")

    async def where() -> Any:
        yield place.get()
        seen.append("given back")

    @module.on(Placed, middleware=[Hook(here)])
    async def handle(event: Placed, of: str = Depends(where)) -> None:
        seen.append((of, place.get()))

    @module.on(Pinged, middleware=[Hook(here)])
    def in_a_thread(event: Pinged, of: str = Depends(where)) -> None:
        seen.append((of, place.get()))

    events = await stage.idle(module)
    for event in (Placed(order="a"), Pinged()):
        await events.publish(event)
        await events.drain_once()
        assert seen == [("here", "here"), "given back", "out"]
        seen.clear()


async def test_it_is_within_the_handlers_time_out(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def hang(context: HandleContext, call_next: HandleNext) -> None:
        await call_next(context)
        if context.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")

    @module.on(Placed, timeout=0.2, retry=Retry(2, fixed(0)), middleware=[Hook(hang)])
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", len(seen))

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    [row] = await stage.deliveries()
    assert (row["state"], row["attempts"]) == ("done", 2)
    assert (seen, await effects(stage)) == (["cancelled"], [1])


async def test_a_handler_is_not_called_after_its_time_out(stage: Stage) -> None:
    module, seen, came_back = Module("shop"), [], []

    async def stubborn(context: HandleContext, call_next: HandleNext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            came_back.append(context)
            await call_next(context)

    @module.on(Placed, timeout=0.2, retry=Retry(1), middleware=[Hook(stubborn)])
    async def handle(event: Placed) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    await until(lambda: came_back)
    await asyncio.sleep(0)
    assert seen == []
    assert [row["reason"] for row in await stage.deliveries()] == ["timed_out"]


async def test_every_attempt_of_a_parked_key_passes_it(stage: Stage) -> None:
    module, seen = Module("shop"), []

    async def note(context: HandleContext, call_next: HandleNext) -> None:
        seen.append((context.event.number, context.attempt, context.redelivered))
        await call_next(context)

    @module.on(Placed, retry=Retry(3, fixed(0)), middleware=[Hook(note)])
    async def handle(event: Placed) -> None:
        if event.number == 1 and len(seen) < 3:
            raise ValueError("not yet")

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1), Placed(order="a", number=2)])
    await events.drain_once()
    assert seen == [(1, 1, False), (1, 2, True), (1, 3, True), (2, 1, False)]


class TestDefHandlersWithASession:
    """The transaction is a thread's; the middleware is on the event loop, and still inside of it."""

    @pytest.fixture
    def sessions(self, stage: Stage) -> Any:
        engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
        yield sessionmaker(engine)
        engine.dispose()

    @staticmethod
    def write(session: Session, number: int) -> None:
        session.execute(text("INSERT INTO effect VALUES ('sync', :number)"), {"number": number})

    async def test_what_it_raises_rolls_back(self, stage: Stage, sessions: Any) -> None:
        module, threads = Module("shop"), set[str]()

        async def refuse_once(context: HandleContext, call_next: HandleNext) -> None:
            assert threading.current_thread() is threading.main_thread()
            token = place.set("here")
            await call_next(context)
            place.reset(token)
            if context.attempt == 1:
                raise ValueError("not this time")

        @module.on(Placed, retry=Retry(2, fixed(0)), middleware=[Hook(refuse_once)])
        def handle(event: Placed, session: SyncHandlerSession, publish: SyncEventPublisher) -> None:
            threads.add(threading.current_thread().name.rpartition("_")[0])
            self.write(session, event.number)
            publish(Shipped(order=place.get()))

        events = await stage.idle(module, sync_sessions=sessions)
        await events.publish(Placed(order="a", number=3))
        await events.drain_once()
        assert await effects(stage) == [3]
        assert threads == {"fastapi_events"}
        payloads = await stage.rows("SELECT payload FROM events.event WHERE name = 'shop.order.shipped'")
        assert ["here" in str(row["payload"]) for row in payloads] == [True]
        await events.stop()

    async def test_the_handlers_error_passes_it(self, stage: Stage, sessions: Any) -> None:
        module, seen = Module("shop"), []

        async def look(context: HandleContext, call_next: HandleNext) -> None:
            try:
                await call_next(context)
            except LookupError as error:
                seen.append(repr(error))
                raise

        @module.on(Placed, retry=Retry(1), middleware=[Hook(look)])
        def handle(event: Placed, session: SyncHandlerSession) -> None:
            self.write(session, 1)
            raise LookupError("nowhere")

        events = await stage.idle(module, sync_sessions=sessions)
        await events.publish(Placed(order="a"))
        await events.drain_once()
        [row] = await stage.deliveries()
        assert (row["state"], row["error_message"], seen) == ("dead", "nowhere", ["LookupError('nowhere')"])
        assert await effects(stage) == []
        await events.stop()

    async def test_a_hanging_one_is_cancelled_and_its_thread_set_free(self, stage: Stage, sessions: Any) -> None:
        module, seen = Module("shop"), []

        async def hang(context: HandleContext, call_next: HandleNext) -> None:
            await call_next(context)
            if context.event.order == "stuck":
                try:
                    await asyncio.Event().wait()
                finally:
                    seen.append("cancelled")

        @module.on(Placed, timeout=0.5, retry=Retry(1), middleware=[Hook(hang)])
        def handle(event: Placed, session: SyncHandlerSession) -> None:
            self.write(session, event.number)

        events = await stage.idle(module, sync_sessions=sessions)
        await publish(events, [Placed(order="stuck", number=1), Placed(order="a", number=2)])
        await within(events.drain_once())
        [dead] = await stage.deliveries()
        assert (dead["state"], dead["reason"]) == ("dead", "timed_out")
        executor = events.runtime.executor
        async with asyncio.timeout(10):
            while executor.threads._busy:
                await asyncio.sleep(0.005)
        assert seen == ["cancelled"]
        assert await effects(stage) == [2]
        await events.stop()
