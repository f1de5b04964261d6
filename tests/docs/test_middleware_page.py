"""The page on middleware: its examples do what it says of them."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from fastapi_events import Event, Events, HandlerSession, Retry
from fastapi_events.model.event import RawEvent
from tests.docs.pages import Project

Made = Callable[[str], Project]
PAGE = "docs/how-to/middleware.md"


async def values(events: Events, query: str) -> list[Any]:
    async with events.session() as session:
        return list((await (await session.connection()).execute(text(query))).scalars())


async def test_the_project(project: Made, caplog: pytest.LogCaptureFixture) -> None:
    made = project(PAGE)
    shop = made.load("shop.events")
    events: Events = shop.events

    @events.on("orders.*", id="app.fails", retry=Retry(1), middleware=[made.load("shop.around").Alarm()])
    async def fails(event: Event | RawEvent) -> None:
        raise ValueError("broken")

    caplog.set_level(logging.DEBUG, logger="shop")
    await events.start(drains=False)
    try:
        await events.publish(shop.OrderPlaced(order_id=1), tenant_id="test")
        await events.publish(shop.OrderPlaced(order_id=2), tenant_id="acme")
        await events.drain_once()
        headers = await values(events, "SELECT headers FROM events.event")
        assert headers == [{"release": "2026.11"}] * 2
        notes = await values(events, "SELECT note FROM events.delivery WHERE state = 'discarded'")
        assert notes == ["an event of the test tenant"]
    finally:
        await events.stop()
    lines = [record.getMessage() for record in caplog.records if record.name == "shop"]
    timed = sorted(line.partition(" took ")[0] for line in lines if " took " in line)
    assert timed == ["app.fails", "app.fails", "billing.charge", "billing.charge"]
    assert sum("is dead (max_attempts)" in line for line in lines) == 2


async def test_the_snippets(project: Made) -> None:
    made = project(PAGE)
    names = await made.run_snippets()
    events, seen = Events(middleware=[names["TenantRows"](), names["NotFoundIsNoError"]()]), list[str]()

    class Noted(Event, name="shop.page.noted"): ...

    @events.on(Noted)
    async def handle(event: Noted, session: HandlerSession) -> None:
        connection = await session.connection()
        seen.append((await connection.execute(text("SELECT current_setting('app.tenant')"))).scalar_one())
        raise KeyError("gone")

    await events.start(drains=False)
    try:
        await events.publish(Noted(), tenant_id="acme")
        await events.drain_once()
        notes = await values(events, "SELECT state || ': ' || note FROM events.delivery")
    finally:
        await events.stop()
    assert seen == ["acme"]
    assert notes == ["discarded: it is gone"]
