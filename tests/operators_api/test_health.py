"""Probes: live without a database, ready with reasons, open to everybody."""

from dataclasses import replace

from fastapi_events.api.operator_port import Health
from fastapi_events.errors import SchemaOutOfDate
from fastapi_events.settings import EventsSettings
from tests.dashboard.ground import Ground, app_of, client_of


async def test_live_and_ready_without_permission(shop: Ground) -> None:
    app = app_of(replace(shop.port, settings=EventsSettings(development=False)))
    async with client_of(app) as client:
        live, ready = await client.get("/events/health"), await client.get("/events/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready", "problems": [], "database_schema": "ok", "drain": "running", "wake_up": "listening",
        "oldest_pending_age": None,
    }  # fmt: skip
    assert ready.headers["cache-control"] == "no-store"


async def test_not_ready_tells_why(shop: Ground) -> None:
    shop.port.state = Health(
        "has version 0", "stopped", "polling", 12.5, ("The schema is too old.", "The drain has stopped.")
    )
    answer = await shop.client.get("/events/health/ready")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["The schema is too old.", "The drain has stopped."]
    assert (await shop.client.get("/events/health")).status_code == 200


async def test_a_check_that_fails_is_not_ready(shop: Ground) -> None:
    for error in (SchemaOutOfDate("run db upgrade"), ConnectionRefusedError("nobody there")):
        shop.port.state = error
        answer = await shop.client.get("/events/health/ready")
        assert answer.status_code == 503
        assert str(error) in answer.json()["problems"][0]


async def test_the_age_of_the_oldest_pending_event(shop: Ground) -> None:
    age = await shop.port.observe.oldest_pending_age()
    assert age is not None
    assert 2 < age < 300
    await shop.seeding.settle_all()
    assert await shop.port.observe.oldest_pending_age() is None
