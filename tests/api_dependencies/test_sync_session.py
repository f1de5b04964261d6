"""The ready-made plain session: of the user's maker, as long as the endpoint, committed by nobody else."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import Events, EventsSettings, SyncPublisher, SyncSessionDep
from fastapi_events.errors import SettingsError
from tests.api_dependencies.conftest import Client
from tests.publishing.shop import Item, Log, Noted, Port


async def test_rows_and_events_commit_together_or_not_at_all(
    app: FastAPI, client: Client, log: Log, port: Port
) -> None:
    @app.post("/{number}")
    def note(number: int, session: SyncSessionDep, publish: SyncPublisher, end: str = "commit") -> None:
        session.add(Item(id=number))
        publish(Noted(number=number))
        if end == "raise":
            raise RuntimeError
        if end != "return":
            getattr(session, end)()

    async with client(app) as http:
        answers = [
            (await http.post(f"/{number}", params={"end": end})).status_code
            for number, end in enumerate(["commit", "rollback", "return", "raise", "commit"], 1)
        ]
        twice = await http.post("/1")
    assert (answers, twice.status_code) == ([200, 200, 200, 500, 200], 500)
    assert (await log.items(), await log.numbers()) == ([1, 5], [1, 5])


async def test_it_is_one_session_for_a_request(app: FastAPI, client: Client, log: Log) -> None:
    seen: list[Session] = []

    def remember(session: SyncSessionDep) -> None:
        seen.append(session)

    @app.post("/", dependencies=[Depends(remember)])
    def note(session: SyncSessionDep) -> None:
        seen.append(session)

    async with client(app) as http:
        await asyncio.gather(http.post("/"), http.post("/"))
    assert len(seen) == 4
    assert len({id(session) for session in seen}) == 2


async def test_it_ends_with_the_endpoint_before_the_response_is_sent(
    app: FastAPI, client: Client, sync_engine: Engine
) -> None:
    returned: list[str] = []
    event.listen(sync_engine, "checkin", lambda *_: returned.append("connection"))

    @app.get("/")
    def stream(session: SyncSessionDep) -> StreamingResponse:
        session.execute(Item.__table__.select())

        def body() -> Any:
            returned.append("body")
            yield b"sent"

        return StreamingResponse(body())

    async with client(app) as http:
        assert (await http.get("/")).text == "sent"
    assert returned == ["connection", "body"]


class OwnSession(Session):
    """A class of the user's."""


async def test_it_is_of_the_users_own_maker(log: Log, clean_database: str, sync_engine: Engine) -> None:
    events = Events(
        settings=EventsSettings(database_url=clean_database, worker="standalone"),
        sync_sessions=sessionmaker(sync_engine, class_=OwnSession, info={"of": "the user"}),
    )
    app = FastAPI()
    app.include_router(events.router)
    given: list[Session] = []

    @app.post("/")
    def note(session: SyncSessionDep, publish: SyncPublisher) -> None:
        given.append(session)
        session.add(Item(id=1))
        publish(Noted(number=1))
        session.commit()

    async with events.lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as http:
        assert (await http.post("/")).status_code == 200
    assert [(isinstance(session, OwnSession), session.info["of"]) for session in given] == [(True, "the user")]
    assert (await log.items(), await log.numbers()) == ([1], [1])


async def test_without_a_maker_the_request_is_told_what_to_give(log: Log, clean_database: str) -> None:
    events = Events(settings=EventsSettings(database_url=clean_database, worker="standalone"))
    app = FastAPI()

    @app.post("/")
    def note(session: SyncSessionDep) -> None: ...

    async with events.lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as http:
        with pytest.raises(SettingsError, match=r"Events\(sync_sessions=sessionmaker\(engine\)\)"):
            await http.post("/")
