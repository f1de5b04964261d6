"""A publisher is on exactly the endpoint's session, whatever that session's scope and style."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import asyncpg
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.dependencies import (
    Publisher,
    SessionDep,
    SyncPublisher,
    SyncSessionDep,
    publisher_on,
    sync_publisher_on,
)
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.engine import running
from fastapi_events.errors import DeclarationError, SessionClosed
from fastapi_events.model.context import bound_by
from tests.api_dependencies.conftest import Client, Instance
from tests.publishing.shop import Item, Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]
Scope = Literal["function", "request"] | None


@pytest.mark.parametrize("scope", [None, "function", "request"])
@pytest.mark.parametrize("given", ["alias", "depends"])
async def test_the_users_own_session(
    app: FastAPI, client: Client, sessions: Sessions, log: Log, scope: Scope, given: str
) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    depends = Depends(get_session, scope=scope)
    OwnSession = Annotated[AsyncSession, depends]  # noqa: N806
    OwnPublisher = Annotated[  # noqa: N806
        EventPublisher, Depends(publisher_on(OwnSession if given == "alias" else depends))
    ]

    @app.post("/{number}")
    async def note(number: int, publish: OwnPublisher, session: OwnSession, commit: bool = True) -> None:
        session.add(Item(id=number))
        await publish(Noted(number=number))
        if commit:
            await session.commit()

    async with client(app) as http:
        assert (await http.post("/1")).status_code == 200
        assert (await http.post("/2", params={"commit": False})).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1], [1])


async def test_a_bare_callable(app: FastAPI, client: Client, sessions: Sessions, log: Log) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    @app.post("/")
    async def note(
        publish: Annotated[EventPublisher, Depends(publisher_on(get_session))],
        session: Annotated[AsyncSession, Depends(get_session)],
    ) -> None:
        session.add(Item(id=1))
        await publish(Noted(number=1))
        await session.commit()

    async with client(app) as http:
        assert (await http.post("/")).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1], [1])


@pytest.mark.parametrize("scope", ["function", "request"])
async def test_a_commit_in_the_sessions_dependency(
    app: FastAPI, client: Client, sessions: Sessions, log: Log, port: Port, scope: Scope
) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session
            await session.commit()

    OwnSession = Annotated[AsyncSession, Depends(get_session, scope=scope)]  # noqa: N806

    @app.post("/{number}")
    async def note(
        number: int, session: OwnSession, publish: Annotated[EventPublisher, Depends(publisher_on(OwnSession))]
    ) -> None:
        session.add(Item(id=number))
        await publish(Noted(number=number))
        if number == 2:
            raise RuntimeError

    async with client(app) as http:
        assert [(await http.post(f"/{number}")).status_code for number in (1, 2, 1)] == [
            200,
            500,
            500 if scope == "function" else 200,  # a commit that fails after the response cannot be told
        ]
    assert (await log.items(), await log.numbers()) == ([1], [1])
    assert port.woken == [{1}]


async def test_a_session_of_a_middleware(app: FastAPI, client: Client, sessions: Sessions, log: Log) -> None:
    """The dependency is a plain function: nobody but the middleware knows when the session ends."""

    @app.middleware("http")
    async def with_session(request: Request, call_next: Any) -> Any:
        async with sessions() as session:
            request.state.session = session
            response = await call_next(request)
            await session.commit()
            return response

    def get_session(request: Request) -> AsyncSession:
        session: AsyncSession = request.state.session
        return session

    OwnSession = Annotated[AsyncSession, Depends(get_session)]  # noqa: N806

    @app.post("/")
    async def note(session: OwnSession, publish: Annotated[EventPublisher, Depends(publisher_on(OwnSession))]) -> None:
        session.add(Item(id=1))
        await publish(Noted(number=1))

    async with client(app) as http:
        assert (await http.post("/")).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1], [1])


async def test_a_dependency_of_a_dependency(app: FastAPI, client: Client, sessions: Sessions, log: Log) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    OwnSession = Annotated[AsyncSession, Depends(get_session, scope="function")]  # noqa: N806

    class Items:
        def __init__(
            self, session: OwnSession, publish: Annotated[EventPublisher, Depends(publisher_on(OwnSession))]
        ) -> None:
            self.session, self.publish = session, publish

    @app.post("/")
    async def note(items: Annotated[Items, Depends()], session: OwnSession) -> None:
        items.session.add(Item(id=1))
        await items.publish(Noted(number=1))
        await session.commit()

    async with client(app) as http:
        assert (await http.post("/")).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1], [1])


@pytest.mark.parametrize("override_style", ["generator", "plain"])
async def test_an_override_holds_for_the_publisher_too(
    app: FastAPI, client: Client, sessions: Sessions, log: Log, override_style: str
) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        raise AssertionError
        yield

    OwnSession = Annotated[AsyncSession, Depends(get_session, scope="function")]  # noqa: N806

    @app.post("/")
    async def note(session: OwnSession, publish: Annotated[EventPublisher, Depends(publisher_on(OwnSession))]) -> None:
        session.add(Item(id=1))
        await publish(Noted(number=1))
        await session.commit()

    async with sessions() as own, client(app) as http:

        async def generator() -> AsyncIterator[AsyncSession]:
            yield own

        async def plain() -> AsyncSession:
            return own

        app.dependency_overrides[get_session] = generator if override_style == "generator" else plain
        assert (await http.post("/")).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1], [1])


async def test_def_endpoints(
    app: FastAPI, client: Client, sync_sessions: sessionmaker[Session], log: Log, port: Port
) -> None:
    def get_session() -> Iterator[Session]:
        with sync_sessions() as session:
            yield session

    OwnSession = Annotated[Session, Depends(get_session)]  # noqa: N806

    @app.post("/{number}")
    def note(
        number: int,
        session: OwnSession,
        publish: Annotated[SyncEventPublisher, Depends(sync_publisher_on(OwnSession))],
        commit: bool = True,
    ) -> None:
        session.add(Item(id=number))
        publish(Noted(number=number))
        if commit:
            session.commit()

    async with client(app) as http:
        assert (await http.post("/1")).status_code == 200
        assert (await http.post("/2", params={"commit": False})).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1], [1])
    assert (port.woken, port.counted) == ([{1}], {"uncommitted_publish": 1})


async def test_the_ready_made_set(app: FastAPI, client: Client, log: Log) -> None:
    @app.post("/async")
    async def note(session: SessionDep, publish: Publisher) -> None:
        session.add(Item(id=1))
        await publish(Noted(number=1))
        await session.commit()

    @app.post("/def")
    def note_in_a_thread(session: SyncSessionDep, publish: SyncPublisher) -> None:
        session.add(Item(id=2))
        publish(Noted(number=2))
        session.commit()

    @app.post("/uncommitted")
    async def forget(session: SessionDep, publish: Publisher) -> None:
        session.add(Item(id=3))
        await publish(Noted(number=3))

    async with client(app) as http:
        for path in ("/async", "/def", "/uncommitted"):
            assert (await http.post(path)).status_code == 200
    assert (await log.items(), await log.numbers()) == ([1, 2], [1, 2])


async def test_a_commit_that_fails_answers_500(app: FastAPI, client: Client, log: Log) -> None:
    @app.post("/")
    async def note(session: SessionDep, publish: Publisher) -> None:
        session.add(Item(id=1))
        await publish(Noted(number=1))
        await session.commit()

    async with client(app) as http:
        assert [(await http.post("/")).status_code for _ in range(2)] == [200, 500]
    assert (await log.items(), await log.numbers()) == ([1], [1])


async def test_background_tasks_and_streams_are_refused(
    app: FastAPI, client: Client, log: Log, port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    async def later(publish: EventPublisher) -> None:
        try:
            await publish(Noted(number=1))
        except SessionClosed as error:
            refused.append(str(error))

    @app.post("/task")
    async def task(session: SessionDep, publish: Publisher, tasks: BackgroundTasks) -> None:
        tasks.add_task(later, publish)

    @app.get("/stream")
    async def stream(session: SessionDep, publish: Publisher) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"begin"
            await later(publish)

        return StreamingResponse(body())

    async with client(app) as http:
        await http.post("/task")
        await http.get("/stream")
    assert len(refused) == 2
    assert all("events.publish(..., detached=True)" in message for message in refused)
    assert (await log.numbers(), port.counted, caplog.records) == ([], {}, [])


async def test_a_task_of_a_request_scoped_session_may_publish_and_commit(
    app: FastAPI, client: Client, sessions: Sessions, log: Log
) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    OwnSession = Annotated[AsyncSession, Depends(get_session)]  # noqa: N806

    async def later(session: AsyncSession, publish: EventPublisher) -> None:
        await publish(Noted(number=1))
        await session.commit()

    @app.post("/")
    async def note(
        session: OwnSession,
        publish: Annotated[EventPublisher, Depends(publisher_on(OwnSession))],
        tasks: BackgroundTasks,
    ) -> None:
        tasks.add_task(later, session, publish)

    async with client(app) as http:
        assert (await http.post("/")).status_code == 200
    assert await log.numbers() == [1]


async def test_a_lent_asyncpg_connection(app: FastAPI, client: Client, clean_database: str, log: Log) -> None:
    async with asyncpg.create_pool(clean_database, min_size=1, max_size=1) as pool:

        async def get_connection() -> AsyncIterator[Any]:
            async with pool.acquire() as connection, connection.transaction():
                yield connection

        OwnConnection = Annotated[Any, Depends(get_connection, scope="function")]  # noqa: N806

        @app.post("/")
        async def note(
            connection: OwnConnection, publish: Annotated[EventPublisher, Depends(publisher_on(OwnConnection))]
        ) -> str | None:
            await connection.execute("INSERT INTO publishing_item VALUES (1, '')")
            await publish(Noted(number=1))
            return bound_by()

        async with client(app) as http:
            answer = await http.post("/")
    assert "get_connection" in answer.text
    assert (await log.items(), await log.numbers(), bound_by()) == ([1], [1], None)


async def test_requests_at_once_have_publishers_of_their_own(app: FastAPI, client: Client, log: Log) -> None:
    @app.post("/{number}")
    async def note(number: int, session: SessionDep, publish: Publisher) -> None:
        session.add(Item(id=number))
        await publish(Noted(number=number))
        await asyncio.sleep(0)
        await (session.commit() if number % 3 else session.rollback())

    async with client(app) as http:
        await asyncio.gather(*(http.post(f"/{number}") for number in range(12)))
    expected = [number for number in range(12) if number % 3]
    assert (await log.items(), sorted(await log.numbers())) == (expected, expected)


async def test_websockets(app: FastAPI, log: Log) -> None:
    @app.websocket("/")
    async def note(socket: WebSocket, session: SessionDep, publish: Publisher) -> None:
        await socket.accept()
        await publish(Noted(number=1))
        await session.commit()
        await socket.close()

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    sent: list[str] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "subprotocols": []}
    await app(scope, receive, send)
    assert sent == ["websocket.accept", "websocket.close"]
    assert await log.numbers() == [1]


async def test_a_mounted_app_uses_the_only_instance(client: Client, instance: Instance, log: Log) -> None:
    inner = FastAPI()

    @inner.post("/")
    async def note(session: SessionDep, publish: Publisher) -> None:
        await publish(Noted(number=1))
        await session.commit()

    outer = FastAPI()
    outer.mount("/shop", inner)
    async with client(outer) as http:
        assert (await http.post("/shop/")).status_code == 500
        running.register(instance)
        try:
            assert (await http.post("/shop/")).status_code == 200
        finally:
            running.unregister(instance)
    assert await log.numbers() == [1]


@pytest.mark.parametrize("make", [publisher_on, sync_publisher_on])
def test_what_is_no_session_dependency_is_refused(make: Any) -> None:
    async def get_session() -> None: ...

    for wrong in (AsyncSession, Annotated[AsyncSession, "no dependency"], "SessionDep", None):
        with pytest.raises(DeclarationError, match=r"pass the session's alias.*Depends\(get_session\)"):
            make(wrong)
    with pytest.raises(DeclarationError, match="Leave use_cache=False out"):
        make(Depends(get_session, use_cache=False))
