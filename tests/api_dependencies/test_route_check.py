"""Endpoints whose events would leave the transaction of their rows are refused at start."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

from fastapi_events.api.dependencies import (
    Publisher,
    SessionDep,
    SyncPublisher,
    check_routes,
    publisher_on,
    sync_publisher_on,
)
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.errors import DeclarationError


async def get_session() -> AsyncIterator[SQLModelSession]:
    raise AssertionError
    yield


def get_plain_session() -> Iterator[Session]:
    raise AssertionError
    yield


async def get_untyped() -> Any:
    raise AssertionError


OwnSession = Annotated[AsyncSession, Depends(get_session)]
OwnPublisher = Annotated[EventPublisher, Depends(publisher_on(OwnSession))]


class Items:
    def __init__(self, session: OwnSession) -> None: ...


async def current_user(session: OwnSession) -> str:
    raise AssertionError


def refused(app: FastAPI | APIRouter) -> str:
    with pytest.raises(DeclarationError) as caught:
        check_routes(app)
    return str(caught.value)


def test_a_session_beside_the_ready_made_publisher() -> None:
    app = FastAPI()

    @app.put("/orders/{number}")
    async def place(number: int, session: OwnSession, publish: Publisher) -> None: ...

    message = refused(app)
    assert message.startswith("PUT /orders/{number} (tests.api_dependencies.test_route_check.")
    assert "place) takes the ready-made Publisher beside a session from tests.api_dependencies" in message
    assert "get_session" in message
    assert "Annotated[EventPublisher, Depends(publisher_on(SessionDep))]" in message


def test_found_by_type_by_return_type_and_in_routers() -> None:
    for dependency, type_ in ((get_plain_session, Any), (get_untyped, Session | None), (get_untyped, AsyncSession)):
        router = APIRouter(prefix="/shop")

        @router.post("/items", name="items")
        def place(session: Annotated[type_, Depends(dependency)], publish: SyncPublisher) -> None: ...

        app = FastAPI()
        app.include_router(router, prefix="/v1")
        message = refused(app)
        assert message.startswith("POST /v1/shop/items (")
        assert "sync_publisher_on(SessionDep)" in message
        assert "POST /shop/items" in refused(router)


def test_found_in_websockets_mounted_apps_and_dependencies() -> None:
    inner = FastAPI()

    @inner.websocket("/ws")
    async def listen(socket: WebSocket, session: OwnSession, publish: Publisher) -> None: ...

    outer = FastAPI()
    outer.mount("/inner", inner)
    assert refused(outer).startswith("WEBSOCKET /ws (")

    app = FastAPI()

    @app.post("/")
    async def place(items: Annotated[Items, Depends()], publish: Publisher) -> None: ...

    assert "get_session" in refused(app)

    app = FastAPI(dependencies=[Depends(current_user)])

    @app.post("/")
    async def place_too(publish: Publisher) -> None: ...

    assert "get_session" in refused(app)


def test_what_is_right_passes() -> None:
    app = FastAPI(dependencies=[Depends(current_user)])

    @app.post("/own")
    async def own(session: OwnSession, publish: OwnPublisher) -> None: ...

    @app.post("/ready")
    async def ready(session: SessionDep, publish: Publisher) -> None: ...

    @app.post("/session")
    async def only_a_session(session: OwnSession) -> None: ...

    @app.get("/nothing")
    def nothing() -> None: ...

    check_routes(app)


def test_both_sessions_in_one_endpoint() -> None:
    app = FastAPI()

    @app.post("/")
    async def place(session: SessionDep, other: OwnSession, publish: Publisher) -> None: ...

    assert "takes the ready-made Publisher beside a session" in refused(app)


@pytest.mark.parametrize("given", [get_session, Depends(get_session), OwnSession])
def test_a_publisher_on_the_same_dependency_in_another_scope(given: Any) -> None:
    app = FastAPI()
    Narrow = Annotated[AsyncSession, Depends(get_session, scope="function")]  # noqa: N806

    @app.post("/orders")
    async def place(session: Narrow, publish: Annotated[EventPublisher, Depends(publisher_on(given))]) -> None: ...

    message = refused(app)
    assert message.startswith("POST /orders (")
    assert "get_session with scope 'request' and one with scope 'function'" in message
    assert "Give publisher_on the very alias" in message


def hand_on(publish: OwnPublisher) -> EventPublisher:
    return publish


class Shop:
    def __init__(self, publish: OwnPublisher) -> None: ...


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    return call


@pytest.mark.parametrize(
    "publisher",
    [
        OwnPublisher,
        Publisher,
        Annotated[EventPublisher, Depends(hand_on)],
        Annotated[Any, Depends(publisher_on(OwnSession))],
    ],
)
def test_a_publisher_that_a_def_endpoint_cannot_await(publisher: Any) -> None:
    app = FastAPI()

    @app.post("/orders")
    def place(publish: publisher) -> None: ...

    message = refused(app)
    assert message.startswith("POST /orders (tests.api_dependencies.test_route_check.")
    assert "place) is a def function and takes an EventPublisher, 'publish'" in message
    assert "the event would be lost. Write async def, or take SyncPublisher" in message
    assert "Annotated[SyncEventPublisher, Depends(sync_publisher_on(SessionDep))]" in message


def test_def_endpoints_that_leave_the_awaiting_to_others() -> None:
    app = FastAPI()

    @app.post("/sync")
    def sync(publish: Annotated[SyncEventPublisher, Depends(sync_publisher_on(get_plain_session))]) -> None: ...

    @app.post("/service")
    def service(shop: Annotated[Shop, Depends()]) -> None: ...

    @app.post("/unseen", dependencies=[Depends(publisher_on(OwnSession))])
    def unseen() -> None: ...

    @app.post("/decorated")
    @decorated
    async def inside(publish: OwnPublisher) -> None: ...

    class Place:
        async def __call__(self, publish: OwnPublisher) -> None: ...

    app.post("/object")(functools.partial(Place()))
    check_routes(app)
