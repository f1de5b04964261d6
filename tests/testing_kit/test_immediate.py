"""The setting ``immediate``: a commit returns when the first attempts have been made, by the ordinary way."""

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from fastapi_events import Event, EventPublisher, HandlerSession, Module
from fastapi_events.api.session_binding import bind_sync
from fastapi_events.errors import SettingsError
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.unread import UnreadStore
from tests.delivery.stage import SLOW, Pinged, Placed, Shipped, Stage, publish, until, within

IMMEDIATE: dict[str, Any] = {"immediate": True, **SLOW}


class Mailed(Event, name="shop.mail.sent", direction="outbound"):
    number: int = 0


def _cascade(seen: list[str]) -> Module:
    """Three handlers, each of which publishes what the next one takes, in another lane at last."""
    module = Module("shop")

    @module.on(Placed)
    async def place(event: Placed, publisher: EventPublisher) -> None:
        seen.append("placed")
        await publisher(Shipped(order=event.order))

    @module.on(Shipped)
    async def ship(event: Shipped, session: HandlerSession, publisher: EventPublisher) -> None:
        await (await session.connection()).execute(text("SELECT 1"))
        seen.append("shipped")
        await publisher(Mailed())

    @module.on(Mailed)
    async def mail(event: Mailed) -> None:
        await asyncio.sleep(0)
        seen.append("mailed")

    return module


@pytest.mark.parametrize("start", ["running", "idle"])
async def test_a_commit_returns_after_the_handlers_and_what_they_publish(stage: Stage, start: str) -> None:
    seen: list[str] = []
    events = await getattr(stage, start)(_cascade(seen), **IMMEDIATE)
    for round_ in range(1, 6):
        await publish(events, [Placed(order="a")])
        assert sorted(seen) == sorted(["placed", "shipped", "mailed"] * round_)
    assert await stage.value("SELECT count(*) FROM events.event") == 15


async def test_nothing_of_it_happens_where_it_is_off(stage: Stage) -> None:
    seen: list[str] = []
    events = await stage.idle(_cascade(seen))
    await publish(events, [Placed(order="a")])
    assert seen == []


async def test_a_detached_publish_waits_too(stage: Stage) -> None:
    seen: list[str] = []
    events = await stage.running(_cascade(seen), **IMMEDIATE)
    await events.publish(Placed(order="a"))
    assert seen == ["placed", "shipped", "mailed"]


async def test_a_rolled_back_transaction_waits_for_nothing_and_a_savepoint_does_not_wait(stage: Stage) -> None:
    seen: list[str] = []
    events = await stage.running(_cascade(seen), **IMMEDIATE)
    async with events.session() as session:
        async with session.begin_nested():
            await events.publish(Placed(order="a"), session=session)
        assert seen == []
        await session.rollback()
    assert seen == []


async def test_a_failure_is_retried_and_not_raised(stage: Stage) -> None:
    module, attempts = Module("shop"), [0]

    @module.on(Placed)
    async def place(event: Placed) -> None:
        attempts[0] += 1
        raise RuntimeError("no")

    events = await stage.idle(module, **IMMEDIATE)
    await events.publish(Placed(order="a"))
    assert attempts == [1]
    assert len(await stage.deliveries("waiting")) == 1
    await events.drain_once()
    assert attempts == [3]
    assert len(await stage.deliveries("dead")) == 1


async def test_what_goes_wrong_in_between_is_found_as_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    events = await stage.idle(_cascade(seen), **IMMEDIATE)

    async def lost(*_: object) -> int:
        raise ConnectionResetError("the server has gone")

    events.runtime.make_drains()
    with monkeypatch.context() as patched:
        patched.setattr(events.runtime.drain_loops[0], "drain", lost)
        await events.publish(Placed(order="a"))  # committed: it raises nothing
    assert seen == []
    assert "the commit returns before its events are handled (ConnectionResetError: the server has gone)" in caplog.text
    await events.stop()
    sibling = await stage.running(_cascade(seen))
    await until(lambda: seen == ["placed", "shipped", "mailed"])
    await sibling.stop()


async def test_a_scheduled_event_is_not_waited_for(stage: Stage) -> None:
    seen: list[str] = []
    events = await stage.idle(_cascade(seen), **IMMEDIATE)
    await within(events.publish(Placed(order="a"), delay=3600))
    assert seen == []


async def test_a_sync_session_in_a_thread_waits(stage: Stage) -> None:
    seen: list[str] = []
    engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
    events = await stage.running(_cascade(seen), **IMMEDIATE)

    def order() -> list[str]:
        with sessionmaker(engine)() as session:
            bind_sync(events.publishing, session)(Placed(order="a"))
            session.commit()
            return list(seen)

    assert await within(asyncio.to_thread(order)) == ["placed", "shipped", "mailed"]
    engine.dispose()


async def test_a_sync_session_on_the_loop_does_not_wait_and_says_so(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
    events = await stage.idle(_cascade(seen), **IMMEDIATE)
    with sessionmaker(engine)() as session:
        bind_sync(events.publishing, session)(Placed(order="a"))
        session.commit()
    engine.dispose()
    assert seen == []
    assert "a plain Session was committed on an event loop" in caplog.text
    await events.drain_once()
    assert seen == ["placed", "shipped", "mailed"]


async def test_a_pool_of_one_connection_is_enough(stage: Stage) -> None:
    """The committer has given its connection back when it waits."""
    seen: list[str] = []
    events = await stage.running(_cascade(seen), handler_connections=1, **IMMEDIATE)
    async with events.session() as session:
        await events.publish(Shipped(order="a"), session=session)
        await within(session.commit())
    assert seen == ["shipped", "mailed"]


async def test_a_commit_of_a_handler_does_not_wait_for_itself(stage: Stage) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed)
    async def place(event: Placed) -> None:
        await events.publish(Pinged(number=7), detached=True)
        seen.append(event.number)

    @module.on(Pinged)
    async def ping(event: Pinged) -> None:
        seen.append(event.number)

    events = await stage.idle(module, immediate_timeout=60.0, **IMMEDIATE)
    await within(events.publish(Placed(order="a", number=1)))
    assert seen == [1, 7]


async def test_the_wait_is_bounded_and_the_event_is_handled_all_the_same(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    module, may_end, seen = Module("shop"), asyncio.Event(), list[int]()

    @module.on(Placed)
    async def place(event: Placed) -> None:
        await may_end.wait()
        seen.append(1)

    caplog.set_level(logging.INFO, "fastapi_events")
    events = await stage.idle(module, immediate_timeout=0.05, **IMMEDIATE)
    await within(events.publish(Placed(order="a")))
    assert seen == []
    assert "EVENTS_IMMEDIATE_TIMEOUT" in caplog.text
    may_end.set()
    await events.drain_once()
    assert seen == [1]


async def test_a_cancelled_committer_cancels_no_handler(stage: Stage) -> None:
    module, begun, may_end, seen = Module("shop"), asyncio.Event(), asyncio.Event(), list[str]()

    @module.on(Placed)
    async def place(event: Placed) -> None:
        seen.append("begun")
        begun.set()
        await may_end.wait()
        seen.append("done")

    events = await stage.idle(module, **IMMEDIATE)
    committer = asyncio.create_task(events.publish(Placed(order="a")))
    await within(begun.wait())
    committer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committer
    may_end.set()
    await events.drain_once()
    assert seen == ["begun", "done"]
    assert await stage.value("SELECT count(*) FROM events.success_batch") == 1


async def test_what_a_sibling_has_claimed_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end, seen, looks = asyncio.Event(), asyncio.Event(), list[str](), list[int]()
    counting = UnreadStore.count

    async def count(store: UnreadStore, *args: Any) -> int:
        looks.append(await counting(store, *args))
        return looks[-1]

    monkeypatch.setattr(UnreadStore, "count", count)

    def module(name: str) -> Module:
        made = Module("shop")

        @made.on(Placed, id="shop.place")
        async def place(event: Placed) -> None:
            begun.set()
            await may_end.wait()
            seen.append(name)

        return made

    sibling = await stage.idle(module("sibling"))
    events = await stage.idle(module("own"), immediate_timeout=60.0, **IMMEDIATE)
    await sibling.publish(Placed(order="a"))
    draining = asyncio.create_task(sibling.drain_once())
    await within(begun.wait())
    committing = asyncio.create_task(events.publish(Placed(order="a")))
    await until(lambda: len(looks) >= 3, "looking at what the sibling has claimed")
    assert not committing.done()
    may_end.set()
    await within(committing)
    assert seen == ["sibling", "sibling"]
    assert all(looks[:3])
    await within(draining)


@pytest.mark.parametrize("other", [{"enabled": False}, {"worker": "standalone"}])
async def test_it_contradicts_a_process_that_handles_nothing(stage: Stage, other: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="immediate") as refused:
        stage.settings(immediate=True, **other)
    assert next(iter(other)) in str(refused.value)


async def test_handlers_inherit_nothing_of_the_committer(stage: Stage) -> None:
    from contextvars import ContextVar

    var, found, module = ContextVar("var", default="nothing"), list[str](), Module("shop")

    @module.on(Placed)
    async def place(event: Placed) -> None:
        found.append(var.get())

    events = await stage.idle(module, **IMMEDIATE)
    var.set("of the committer")
    await events.publish(Placed(order="a"))
    assert found == ["nothing"]


@pytest.mark.parametrize("start", ["running", "idle"])
async def test_what_waits_behind_a_detached_attempt_and_what_that_publishes_is_attempted_too(
    stage: Stage, start: str
) -> None:
    module, placed, shipped = Module("shop"), list[int](), list[int]()

    @module.on(Placed)
    async def place(event: Placed, publisher: EventPublisher) -> None:
        if event.number == 0:
            detached = events.runtime.detached
            await until(lambda: detached is not None and detached.taken, "its attempt to be detached")
        placed.append(event.number)
        await publisher(Shipped(order=event.order, number=event.number))

    @module.on(Shipped)
    async def ship(event: Shipped) -> None:
        shipped.append(event.number)

    events = await getattr(stage, start)(module, **IMMEDIATE, inline_budget=0.001, contended_budget=0.001)
    await within(publish(events, [Placed(order="a", number=number) for number in range(50)]))
    assert placed == list(range(50))
    assert sorted(shipped) == list(range(50))
