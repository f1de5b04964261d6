"""What a process says of itself from its start on: how it is woken, and what it was told in vain."""

import logging
import socket
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import Events, EventsSettings, Module, Publisher
from fastapi_events.errors import DeclarationError, SettingsError
from tests.dashboard.ground import client_of
from tests.delivery.stage import Placed, Stage, until


def shop() -> Module:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed) -> None: ...

    return module


@pytest.mark.parametrize(
    ("changes", "word", "shown"),
    [
        ({}, "listening", "notifications"),
        ({"pgbouncer": True}, "polling", "polling"),
        ({"worker": "standalone"}, "off", "—"),
    ],
)
async def test_all_say_alike_how_a_process_is_woken(
    stage: Stage, changes: dict[str, object], word: str, shown: str
) -> None:
    events = stage.make(shop(), development=True, **changes)
    app = FastAPI()
    app.include_router(events.router)
    async with app.router.lifespan_context(app), client_of(app) as client:
        rows = [await events.observe.workers()]
        beats = await stage.value("SELECT lease_until FROM events.worker")
        await until(lambda: stage.value("SELECT lease_until <> $1 FROM events.worker", beats), "a heartbeat")
        rows.append(await events.observe.workers())
        assert [[worker.wake_up for worker in workers] for workers in rows] == [[word], [word]]
        assert (await client.get("/events/health/ready")).json()["wake_up"] == word
        assert [one["wake_up"] for one in (await client.get("/events/api/workers")).json()] == [word]
        page = (await client.get("/events/dashboard")).text
        assert f"{int(word == 'listening')} woken by notifications" in page
        assert f'<td class="wide">{shown}</td>' in (await client.get("/events/dashboard/workers")).text


@pytest.mark.parametrize(("given", "told"), [({"partitions": 64}, True), ({"partitions": 32}, False), ({}, False)])
async def test_a_number_of_partitions_that_is_ignored_is_told_once(
    stage: Stage, caplog: pytest.LogCaptureFixture, given: dict[str, int], told: bool
) -> None:
    assert "partitions" not in EventsSettings().model_fields_set
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        await stage.running(shop(), **given)
    said = [record.getMessage() for record in caplog.records if "EVENTS_PARTITIONS" in record.getMessage()]
    assert len(said) == int(told)
    assert not told or "EVENTS_PARTITIONS=64 is ignored: the schema events was made with 32" in said[0]


@pytest.mark.parametrize("how", ["router", "lifespan"])
async def test_a_route_that_can_never_work_keeps_the_application_from_starting(stage: Stage, how: str) -> None:
    events = stage.make()
    app = FastAPI(lifespan=events.lifespan if how == "lifespan" else None)
    if how == "router":
        app.include_router(events.router)

    @app.post("/orders")
    def place(publish: Publisher) -> None: ...

    with pytest.raises(DeclarationError, match=r"POST /orders .* is a def function and takes an EventPublisher"):
        async with app.router.lifespan_context(app):
            raise AssertionError


async def test_an_application_of_another_framework_is_started_unread(stage: Stage) -> None:
    class Other:
        def __init__(self) -> None:
            self.state = SimpleNamespace()

        @property
        def routes(self) -> Any:
            raise AssertionError

    app, events = Other(), stage.make()
    async with events.lifespan(app):
        assert app.state.fastapi_events is events


NOBODY, PASSWORD = "nobody_of_this_name", "gehe1m"


async def test_a_database_that_is_not_there_is_told_with_its_place_and_the_mend(stage: Stage) -> None:
    """The lines of a traceback say neither; the note is the last thing that a server prints."""
    parts = urlsplit(stage.url)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    host = parts.netloc.rpartition("@")[2]
    wrong: dict[str, tuple[str, ...]] = {
        urlunsplit(parts._replace(netloc=f"{NOBODY}:{PASSWORD}@127.0.0.1:{port}")): (
            f"The database cannot be reached (127.0.0.1:{port}, database ",
            f"role '{NOBODY}')",
            "\nStart PostgreSQL there, or correct database_url (EVENTS_DATABASE_URL).",
        ),
        urlunsplit(parts._replace(netloc=f"{NOBODY}:{PASSWORD}@{host}")): (
            "The database refused (",
            f"role '{NOBODY}')",
            "\nCorrect the role or its password in database_url (EVENTS_DATABASE_URL), or let the server admit it",
        ),
        urlunsplit(parts._replace(path="/nothing_of_this_name")): (
            "database 'nothing_of_this_name'",
            "\nCreate the database (createdb), or correct database_url",
        ),
    }
    for url, told in wrong.items():
        app = FastAPI()
        app.include_router(stage.make(database_url=url).router)
        with pytest.raises((OSError, asyncpg.PostgresError)) as caught:
            async with app.router.lifespan_context(app):
                raise AssertionError
        [note] = caught.value.__notes__
        assert [part for part in told if part not in note] == []
        assert PASSWORD not in note
        assert len(note.splitlines()) == 2


async def test_the_engine_of_the_applications_sessions_is_named_as_the_place_to_correct(stage: Stage) -> None:
    url = urlunsplit(urlsplit(stage.url)._replace(scheme="postgresql+asyncpg", path="/nothing_of_this_name"))
    events = Events(sessions=async_sessionmaker(create_async_engine(url)))
    with pytest.raises(asyncpg.InvalidCatalogNameError) as caught:
        await events.start()
    assert "or correct the engine of the application's sessions." in caught.value.__notes__[0]


async def test_other_errors_at_start_get_no_note() -> None:
    with pytest.raises(SettingsError) as caught:
        await Events(settings=EventsSettings()).start()
    assert not hasattr(caught.value, "__notes__")
