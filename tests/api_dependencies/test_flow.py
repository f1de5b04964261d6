"""What a request hands on to its events, and to nobody after it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from fastapi_events.api.dependencies import Publisher, SessionDep, SyncPublisher, SyncSessionDep
from fastapi_events.api.dependencies.ready_made import library_session
from fastapi_events.api.session_binding import publish_detached
from fastapi_events.errors import DetachedPublish
from fastapi_events.model.context import bound_by, current_flow, flowing
from tests.api_dependencies.conftest import Client, Instance
from tests.publishing.shop import Log, Noted

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def noting(app: FastAPI) -> FastAPI:
    @app.post("/async")
    async def note(session: SessionDep, publish: Publisher) -> None:
        await publish(Noted(number=1))
        await publish(Noted(number=2))
        await session.commit()

    @app.post("/def")
    def note_in_a_thread(session: SyncSessionDep, publish: SyncPublisher) -> None:
        publish(Noted(number=1))
        publish(Noted(number=2))
        session.commit()

    return app


@pytest.mark.parametrize("path", ["/async", "/def"])
@pytest.mark.parametrize("header", ["X-Correlation-ID", "x-request-id"])
async def test_correlation_and_trace(noting: FastAPI, client: Client, log: Log, path: str, header: str) -> None:
    own = uuid4()
    async with client(noting, headers={header: str(own), "traceparent": TRACE}) as http:
        await http.post(path)
    rows = await log.rows()
    assert {UUID(str(row["correlation_id"])) for row in rows} == {own}
    assert {row["headers"] for row in rows} == {f'{{"traceparent": "{TRACE}"}}'}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-id": "not-a-uuid", "traceparent": "garbage"},
        {"x-correlation-id": "\x7f", "traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        {"traceparent": TRACE.replace("00-4", "ff-4")},
        {"traceparent": TRACE + "\x00"},
        {},
    ],
)
async def test_what_is_malformed_is_left_out(
    noting: FastAPI, client: Client, log: Log, headers: dict[str, str]
) -> None:
    async with client(noting, headers=headers) as http:
        assert (await http.post("/async")).status_code == 200
    rows = await log.rows()
    assert [row["correlation_id"] for row in rows] == [row["id"] for row in rows]
    assert {row["headers"] for row in rows} == {None}


async def test_the_applications_own_flow_wins(noting: FastAPI, client: Client, log: Log) -> None:
    own = uuid4()

    @noting.middleware("http")
    async def flow(request: Request, call_next: Any) -> Any:
        with flowing(correlation_id=own, tenant_id="acme", actor="ann"):
            return await call_next(request)

    async with client(noting, headers={"x-request-id": str(uuid4())}) as http:
        await http.post("/async")
    assert {(UUID(str(row["correlation_id"])), row["tenant_id"], row["actor"]) for row in await log.rows()} == {
        (own, "acme", "ann")
    }


async def test_tasks_of_a_request_publish_for_themselves_and_keep_its_correlation(
    app: FastAPI, client: Client, instance: Instance, log: Log
) -> None:
    own, outlived = uuid4(), asyncio.Event()
    left: list[asyncio.Task[None]] = []

    async def later(number: int) -> None:
        await publish_detached(instance.publishing, Noted(number=number), instance.session)

    async def much_later() -> None:
        await outlived.wait()
        await later(2)

    @app.post("/")
    async def note(session: SessionDep, publish: Publisher, tasks: BackgroundTasks) -> None:
        tasks.add_task(later, 1)
        left.append(asyncio.create_task(much_later()))

    async with client(app, headers={"x-request-id": str(own)}) as http:
        assert (await http.post("/")).status_code == 200
    outlived.set()
    await asyncio.gather(*left)
    assert [(row["correlation_id"] == own) for row in await log.rows()] == [True, False]
    assert await log.numbers() == [1, 2]


async def test_nobody_is_bound_once_the_request_is_over_though_the_session_is_open(
    app: FastAPI, client: Client, sessions: async_sessionmaker[AsyncSession]
) -> None:
    """As in a test that overrides the session by its own, and is itself the request's context."""

    @app.post("/")
    async def note(session: SessionDep, publish: Publisher) -> str | None:
        return bound_by()

    async with sessions() as own, client(app) as http:
        app.dependency_overrides[library_session] = lambda: own
        assert "library_session" in (await http.post("/")).text
        assert bound_by() is None


async def test_nobody_is_bound_once_the_session_is_closed_though_the_request_is_served(
    app: FastAPI, client: Client
) -> None:
    seen: list[str | None] = []

    async def later(_: AsyncSession) -> None:
        seen.append(bound_by())

    @app.post("/")
    async def note(session: SessionDep, publish: Publisher, tasks: BackgroundTasks) -> None:
        tasks.add_task(later, session)

    async with client(app) as http:
        await http.post("/")
    assert seen == [None]


@pytest.mark.parametrize("kind", ["async", "def"])
async def test_detached_publishing_is_refused_in_the_request_alone(
    app: FastAPI, client: Client, instance: Instance, log: Log, kind: str
) -> None:
    seen: list[str | None] = []
    if kind == "async":

        @app.post("/")
        async def note(publish: Publisher) -> None:
            seen.append(bound_by())
            with pytest.raises(DetachedPublish) as caught:
                await publish_detached(instance.publishing, Noted(number=1), instance.session)
            message = str(caught.value)
            assert "Noted" in message
            assert "a publisher bound to the session of library_session" in message
            assert "detached=True" in message
            await publish_detached(instance.publishing, Noted(number=2), instance.session, detached=True)
    else:

        @app.post("/")
        def note_in_a_thread(publish: SyncPublisher) -> None:
            seen.append(bound_by())

    async with client(app, headers={"x-request-id": str(uuid4())}) as http:
        assert (await http.post("/")).status_code == 200
    assert seen != [None]
    assert (bound_by(), current_flow().correlation_id) == (None, None)  # this test is the request's own context
    await publish_detached(instance.publishing, Noted(number=3), instance.session)
    assert await log.numbers() == ([2, 3] if kind == "async" else [3])
