"""Rows that a handler changes tell of it in the delivery's own transaction, as its children."""

from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session, sessionmaker
from sqlmodel.ext.asyncio.session import AsyncSession

from fastapi_events import Event, EventPublisher, Events, HandlerSession, Module, Retry, SyncHandlerSession, fixed
from fastapi_events.model.identity import child_event_id
from tests.delivery.stage import Pinged, Placed, Stage, publish
from tests.emits.book import Contact, Note
from tests.emits.conftest import Sessions, Told


class Welcomed(Event, name="book.contact.welcomed"):
    email: str


async def envelopes(stage: Stage) -> list[Any]:
    return await stage.rows("SELECT * FROM events.event ORDER BY position")


async def test_what_a_handler_writes_is_told_as_its_child(stage: Stage, sessions: Sessions) -> None:
    module, attempts = Module("book"), 0

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def register(event: Placed, session: HandlerSession) -> None:
        nonlocal attempts
        attempts += 1
        session.add(Contact(id=UUID(int=event.number), email=event.order))
        await session.flush()
        if attempts == 1:
            raise RuntimeError

    events = await stage.idle(module, sessions=sessions)
    await publish(events, [Placed(order="a@example.org", number=1)], tenant_id="acme")
    await events.drain_once()
    await stage.make_due()
    await events.drain_once()
    assert attempts == 2
    parent, child = await envelopes(stage)
    assert (child["name"], child["depth"], child["tenant_id"]) == ("book.contact.created", 1, "acme")
    assert (child["correlation_id"], child["causation_id"]) == (parent["correlation_id"], parent["id"])
    [handler] = [row["name"] for row in await stage.rows("SELECT name FROM events.handler")]
    assert child["id"] == child_event_id(parent["id"], f"{handler} emits", 0)


async def test_published_and_told_in_one_handler_have_ids_of_their_own(stage: Stage, sessions: Sessions) -> None:
    module = Module("book")

    @module.on(Placed)
    async def register(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        await publish(Welcomed(email=event.order))
        session.add(Contact(email=event.order))

    events = await stage.idle(module, sessions=sessions)
    await publish(events, [Placed(order="a@example.org")])
    await events.drain_once()
    rows = await envelopes(stage)
    assert [row["name"] for row in rows] == ["shop.order.placed", "book.contact.welcomed", "book.contact.created"]
    assert len({row["id"] for row in rows}) == 3
    assert {row["depth"] for row in rows[1:]} == {1}


async def test_each_delivery_has_ids_of_its_own(stage: Stage, sessions: Sessions) -> None:
    module = Module("book")

    @module.on(Pinged)
    async def write(event: Pinged, session: HandlerSession) -> None:
        session.add(Contact(email=str(event.number)))

    events = await stage.idle(module, sessions=sessions)
    await publish(events, [Pinged(number=number) for number in range(5)])
    await events.drain_once()
    rows = await envelopes(stage)
    assert len(rows) == len({row["id"] for row in rows}) == 10
    assert {row["causation_id"] for row in rows[5:]} == {row["id"] for row in rows[:5]}


async def test_a_plain_handler_tells_too(
    stage: Stage, sessions: Sessions, sync_sessions: sessionmaker[Session]
) -> None:
    module = Module("book")

    @module.on(Placed)
    def register(event: Placed, session: SyncHandlerSession) -> None:
        session.add(Contact(email=event.order))

    events = await stage.idle(module, sessions=sessions, sync_sessions=sync_sessions)
    await publish(events, [Placed(order="a@example.org")])
    await events.drain_once()
    parent, child = await envelopes(stage)
    assert (child["name"], child["depth"], child["causation_id"]) == ("book.contact.created", 1, parent["id"])


async def test_a_handler_is_woken_by_what_rows_tell(stage: Stage, sessions: Sessions, told: Told) -> None:
    module, seen = Module("book"), []

    @module.on("book.contact.*")
    async def note(event: Any) -> None:
        seen.append(event.email)

    events = await stage.idle(module, sessions=sessions)
    async with sessions() as session:
        session.add(Contact(email="a@example.org"))
        await session.commit()
    assert (await events.drain_once(), seen) == (1, ["a@example.org"])


@pytest.mark.parametrize("bound", [False, True])
async def test_rows_that_a_hook_of_the_commit_adds_are_told_of(
    events: Events, sessions: Sessions, told: Told, bound: bool
) -> None:
    async with sessions() as session:
        if bound:
            await events.publisher(session)(Welcomed(email="first"))

        def add(inner: Session) -> None:
            if not inner.info.setdefault("added", False):
                inner.info["added"] = True
                inner.add(Note(text="from the hook"))

        sqlalchemy_event.listen(session.sync_session, "before_commit", add)
        session.add(Note(text="own"))
        await session.commit()
    assert [payload.get("text") for _, payload in await told()] == [*([None] if bound else []), "own", "from the hook"]


async def test_a_request_needs_no_publisher(stage: Stage, sessions: Sessions, told: Told) -> None:
    events = stage.make(sessions=sessions, worker="standalone")
    app = FastAPI()
    app.include_router(events.router)

    @app.post("/contacts")
    async def add_contact(email: str) -> None:
        async with AsyncSession(sessions.kw["bind"]) as session:
            session.add(Contact(email=email))
            await session.commit()

    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://test") as client,
    ):
        (await client.post("/contacts", params={"email": "a@example.org"})).raise_for_status()
    assert [payload["email"] for _, payload in await told()] == ["a@example.org"]
