"""An application's own ``Events`` object on memory: with FastAPI, with its clock, and by itself."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import (
    EventPublisher,
    Events,
    EventsSettings,
    Module,
    Publisher,
    Retry,
    SessionDep,
    SyncEventPublisher,
    fixed,
    publisher_on,
    sync_publisher_on,
)  # fmt: skip
from fastapi_events.errors import NotStarted, SettingsError
from fastapi_events.testing import in_memory
from tests.delivery.stage import Placed, collecting, until


async def test_the_events_object_goes_back_to_its_database(seen: list[int], clean_database: str) -> None:
    events = Events([collecting(seen)], settings=EventsSettings(database_url=clean_database))
    async with in_memory(events) as memory:
        await events.publish(Placed(order="a", number=1))
        await events.drain_once()
        assert len(memory.events) == 1
    await events.start(drains=False)
    try:
        assert (await events.observe.events()).events == ()
        with pytest.raises(SettingsError, match="is started"), in_memory(events):
            pass
        await events.publish(Placed(order="a", number=2))
        await events.drain_once()
    finally:
        await events.stop()
    assert seen == [1, 2]


async def test_what_is_kept_outlives_a_restart_inside_the_block(seen: list[int]) -> None:
    events = Events([collecting(seen)])
    with in_memory(events) as memory:
        for number in (1, 2):
            await events.start()
            await events.publish(Placed(order="a", number=number))
            await events.stop()
        await events.start()
        await events.drain_once()
        await events.stop()
        assert len(memory.events) == 2
    assert seen == [1, 2]


async def test_the_setting_alone_does_and_handles_by_itself(
    monkeypatch: pytest.MonkeyPatch, seen: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "memory")
    events = Events([collecting(seen)])
    async with events.lifespan():
        await events.publish(Placed(order="a", number=1))
        await until(lambda: seen == [1], "the instance's own loop")
        assert (await events.health()).drain == "running"
    assert "lost when it stops" in caplog.text
    async with events.lifespan():
        assert (await events.observe.events()).events == ()  # each start is a new beginning


async def test_an_advanced_clock_wakes_the_instances_own_loop(seen: list[int]) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(2, backoff=fixed(3600, jitter=False)))
    async def flaky(event: Placed) -> None:
        seen.append(event.number)
        if len(seen) == 1:
            raise RuntimeError("again")

    events = Events([module])
    async with in_memory(events, drains=True) as memory:
        await events.publish(Placed(order="a", number=1))
        await until(lambda: memory.kept.deliveries.next_time() is not None)
        memory.clock.advance(timedelta(hours=1, seconds=1))
        await until(lambda: seen == [1, 1])
    with pytest.raises(SettingsError, match="ahead"):
        memory.clock.advance(-1)


def app_of(events: Events, sessions: sessionmaker[Session]) -> FastAPI:
    def get_session() -> Iterator[Session]:
        with sessions() as session:
            yield session

    own = Annotated[Session, Depends(get_session)]
    app = FastAPI()
    app.include_router(events.router)

    @app.post("/own/{number}")
    async def place(
        number: int,
        session: own,
        publish: Annotated[EventPublisher, Depends(publisher_on(own))],  # type: ignore[valid-type]  # an alias made here
    ) -> None:
        session.execute(text("SELECT 1"))
        await publish(Placed(order="a", number=number))
        if number % 2:
            session.commit()

    @app.post("/sync/{number}")
    def place_sync(
        number: int,
        session: own,
        publish: Annotated[SyncEventPublisher, Depends(sync_publisher_on(own))],  # type: ignore[valid-type]  # an alias made here
    ) -> None:
        publish(Placed(order="a", number=number))
        session.commit()

    @app.post("/ready-made/{number}")
    async def place_ready_made(number: int, session: SessionDep, publish: Publisher) -> None:
        await publish(Placed(order="a", number=number))
        await session.commit()

    return app


@pytest.mark.filterwarnings("ignore:Using `httpx`")
def test_an_app_under_the_test_client(engine: Engine, seen: list[int]) -> None:
    from fastapi.testclient import TestClient

    events = Events([collecting(seen)])
    app = app_of(events, sessionmaker(engine))
    with in_memory(events) as memory:
        with pytest.raises(NotStarted, match="TestClient"):
            memory.drain()
        with TestClient(app) as client:
            for path in ("own/1", "own/2", "sync/3", "ready-made/4"):
                assert client.post(f"/{path}").status_code == 200
            assert seen == []
            assert memory.drain() == 3
            assert client.get("/events/health").status_code == 200
    assert seen == [1, 3, 4]


async def test_an_app_on_the_tests_own_loop(engine: Engine, seen: list[int]) -> None:
    events = Events([collecting(seen)])
    app = app_of(events, sessionmaker(engine))
    transport = httpx.ASGITransport(app)
    async with (
        in_memory(events) as memory,
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client,
    ):
        assert (await client.post("/own/1")).status_code == 200
        await events.drain_once()
        with pytest.raises(SettingsError, match="drain_once"):
            memory.drain()
    assert seen == [1]


async def test_another_event_loop_is_refused(seen: list[int]) -> None:
    events = Events([collecting(seen)])
    async with in_memory(events) as memory:
        await events.publish(Placed(order="a", number=1))
        with pytest.raises(SettingsError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, events.drain_once())
        assert await asyncio.to_thread(memory.drain) == 1
    assert seen == [1]


async def test_what_no_class_takes_is_shown_as_it_is(seen: list[int]) -> None:
    events = Events([collecting(seen)])
    async with in_memory(events) as memory:
        async with events.session() as session:
            await events.publisher(session).raw("shop.order.placed", {"order": 1})
            await events.publisher(session).raw("shop.unknown.thing", [1])
            await session.commit()
        assert [json.loads(stored.event) for stored in memory.events] == [{"order": 1}, [1]]


def test_what_is_no_events_object_is_refused() -> None:
    with pytest.raises(SettingsError, match="in_memory"):
        in_memory("events")
