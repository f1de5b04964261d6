"""What a process says of itself from its start on: how it is woken, and what it was told in vain."""

import logging

import pytest
from fastapi import FastAPI

from fastapi_events import EventsSettings, Module
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
