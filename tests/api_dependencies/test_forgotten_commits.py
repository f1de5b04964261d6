"""Events of a request that were not committed: what its tasks and its errors have to do with it."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.dependencies import Publisher, SessionDep, SyncPublisher, publisher_on, sync_publisher_on
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.errors import SessionClosed
from tests.api_dependencies.conftest import Client
from tests.publishing.shop import Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]
Scope = Literal["function", "request"]
SOURCE = Path(__file__).read_text(encoding="utf-8").splitlines()


def place(mark: str) -> str:
    [line] = [number for number, text in enumerate(SOURCE, 1) if text.endswith(f"# {mark}")]
    return f"published at {__file__}:{line}"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name == "fastapi_events"
    ]


async def test_a_task_after_the_end_of_the_session_is_refused(
    app: FastAPI, sessions: Sessions, log: Log, caplog: pytest.LogCaptureFixture, client: Client
) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    OwnSession = Annotated[AsyncSession, Depends(get_session, scope="function")]  # noqa: N806
    refused: list[type[BaseException]] = []

    async def later(publish: EventPublisher) -> None:
        try:
            await publish(Noted(number=1))
        except SessionClosed as error:
            refused.append(type(error))

    @app.post("/own")
    async def own(
        session: OwnSession,
        publish: Annotated[EventPublisher, Depends(publisher_on(OwnSession))],
        tasks: BackgroundTasks,
    ) -> None:
        await session.commit()
        tasks.add_task(later, publish)

    @app.post("/ready")
    async def ready(session: SessionDep, publish: Publisher, tasks: BackgroundTasks) -> None:
        await session.commit()
        tasks.add_task(later, publish)

    async with client(app) as http:
        await http.post("/own")
        await http.post("/ready")
    assert refused == [SessionClosed] * 2
    assert (warnings(caplog), await log.numbers()) == ([], [])


async def test_a_task_that_forgets_the_commit_of_an_open_session_names_the_users_line(
    app: FastAPI, sessions: Sessions, sync_sessions: sessionmaker[Session], log: Log,
    caplog: pytest.LogCaptureFixture, client: Client,
) -> None:  # fmt: skip
    """With FastAPI's default scope the session ends after the tasks: it is still open, but nobody commits."""

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    def get_plain() -> Iterator[Session]:
        with sync_sessions() as session:
            yield session

    OwnSession = Annotated[AsyncSession, Depends(get_session)]  # noqa: N806
    OwnPublisher = Annotated[EventPublisher, Depends(publisher_on(OwnSession))]  # noqa: N806
    PlainSession = Annotated[Session, Depends(get_plain)]  # noqa: N806
    PlainPublisher = Annotated[SyncEventPublisher, Depends(sync_publisher_on(PlainSession))]  # noqa: N806

    async def later(publish: EventPublisher) -> None:
        await publish(Noted(number=1))  # the task

    @app.post("/function")
    async def function(publish: OwnPublisher, tasks: BackgroundTasks) -> None:
        tasks.add_task(later, publish)

    @app.post("/publisher")
    async def itself(session: OwnSession, publish: OwnPublisher, tasks: BackgroundTasks) -> None:  # the endpoint
        await session.commit()
        tasks.add_task(publish, Noted(number=1))

    @app.post("/plain")
    def plain(publish: PlainPublisher, tasks: BackgroundTasks) -> None:  # the plain endpoint
        tasks.add_task(publish, Noted(number=1))

    async with client(app) as http:
        for path in ("/function", "/publisher", "/plain"):
            assert (await http.post(path)).status_code == 200
    first, second, third = warnings(caplog)
    assert f"{place('the task')}." in first
    for message, name in ((second, "itself"), (third, "plain")):
        # The line of the decorator, or of the definition under it: that differs between versions of Python.
        line = next(number for number, text in enumerate(SOURCE, 1) if f"def {name}(" in text)
        assert any(f"published at {__file__}:{number} (in a task" in message for number in (line - 1, line)), message
    assert await log.numbers() == []


@pytest.mark.parametrize("style", ["with", "finally", "ready", "plain", "ready plain"])
@pytest.mark.parametrize("scope", ["function", "request"])
async def test_an_endpoint_that_raises_has_not_forgotten_the_commit(
    app: FastAPI, sessions: Sessions, sync_sessions: sessionmaker[Session], log: Log, port: Port,
    caplog: pytest.LogCaptureFixture, client: Client, style: str, scope: Scope,
) -> None:  # fmt: skip
    async def get_with() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    async def get_finally() -> AsyncIterator[AsyncSession]:
        session = sessions()
        try:
            yield session
        finally:
            await session.close()

    def get_plain() -> Iterator[Session]:
        with sync_sessions() as session:
            yield session

    bound: Any = SyncPublisher if style == "ready plain" else Publisher
    if style == "plain":
        bound = Annotated[
            SyncEventPublisher, Depends(sync_publisher_on(Annotated[Session, Depends(get_plain, scope=scope)]))
        ]
    elif not style.startswith("ready"):
        get = get_with if style == "with" else get_finally
        bound = Annotated[EventPublisher, Depends(publisher_on(Annotated[AsyncSession, Depends(get, scope=scope)]))]

    async def note(publish: bound, trouble: str = "") -> None:
        published = publish(Noted(number=1))
        if not style.endswith("plain"):
            await published
        if trouble:
            raise HTTPException(409) if trouble == "http" else RuntimeError

    app.post("/")(note)
    async with client(app) as http:
        assert (await http.post("/", params={"trouble": "http"})).status_code == 409
        assert (await http.post("/", params={"trouble": "own"})).status_code == 500
        assert (warnings(caplog), port.counted) == ([], {})
        assert (await http.post("/")).status_code == 200
    assert len(warnings(caplog)) == 1
    assert port.counted == {"uncommitted_publish": 1}
    assert await log.numbers() == []
