"""No event without a tenant: every way to publish, and every way to say whose it is."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import (
    EventPublisher,
    Events,
    HandlerSession,
    Module,
    Publisher,
    SessionDep,
    SyncEventPublisher,
    SyncPublisher,
    SyncSessionDep,
    tenant,
    tenant_from,
)  # fmt: skip
from fastapi_events.api.session_binding import bind_sync
from fastapi_events.errors import DeclarationError, InvalidPayload, MissingTenantIdError
from tests.delivery.stage import Pinged, Placed, Shipped, Stage

Way = Callable[[Events, dict[str, Any]], Awaitable[Any]]


async def detached(events: Events, options: dict[str, Any]) -> Any:
    return await events.publish(Placed(order="a"), **options)


async def bound(events: Events, options: dict[str, Any]) -> Any:
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a"), **options)
        await session.commit()


async def on_a_session(events: Events, options: dict[str, Any]) -> Any:
    async with events.session() as session:
        await events.publish(Placed(order="a"), session=session, **options)
        await session.commit()


async def many(events: Events, options: dict[str, Any]) -> Any:
    async with events.session() as session:
        await events.publisher(session).many([Placed(order="a"), Pinged()], **options)
        await session.commit()


async def raw(events: Events, options: dict[str, Any]) -> Any:
    async with events.session() as session:
        await events.publisher(session).raw("shop.order.placed", {"order": "a"}, aggregate_id="a", **options)
        await session.commit()


async def on_a_connection(events: Events, options: dict[str, Any]) -> Any:
    async with events.session() as session:
        connection = await session.connection()
        await events.publisher(connection)(Placed(order="a"), **options)
        await session.commit()


async def plain(events: Events, options: dict[str, Any]) -> Any:
    with events.sync_session() as session:
        bind_sync(events.publishing, session)(Placed(order="a"), **options)
        session.commit()


WAYS: list[Way] = [detached, bound, on_a_session, many, raw, on_a_connection, plain]


@pytest.fixture
def sync_sessions(clean_database: str) -> Any:
    engine = create_engine(clean_database.replace("postgresql://", "postgresql+psycopg://"))
    yield sessionmaker(engine)
    engine.dispose()


async def tenants(stage: Stage) -> list[str | None]:
    rows = await stage.rows("SELECT tenant_id FROM events.event ORDER BY position")
    return [row["tenant_id"] for row in rows]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_publish_without_a_tenant_is_refused(stage: Stage, sync_sessions: Any, way: Way) -> None:
    events = await stage.idle(multi_tenant=True, sync_sessions=sync_sessions)
    with pytest.raises(MissingTenantIdError) as caught:
        await way(events, {})
    name = "shop.order.placed" if way is raw else "Placed"
    assert name in str(caught.value)
    for mend in ("tenant_id='…'", "tenant_from", "with tenant('…')", "tenant_id=None"):
        assert mend in str(caught.value)
    assert await tenants(stage) == []
    await way(events, {"tenant_id": "acme"})
    with tenant("nordwind"):
        await way(events, {})
        await way(events, {"tenant_id": "acme"})
        await way(events, {"tenant_id": None})
    await way(events, {"tenant_id": None})
    each = 2 if way is many else 1
    assert await tenants(stage) == [
        name for name in ("acme", "nordwind", "acme", None, None) for _ in range(each)
    ]  # fmt: skip


async def test_it_is_refused_before_any_sql(stage: Stage) -> None:
    events = await stage.idle(multi_tenant=True)
    async with events.session() as session:
        with pytest.raises(MissingTenantIdError):
            await events.publisher(session)(Placed(order="a"))
        assert not session.in_transaction()


async def test_without_the_setting_nothing_is_asked_for(stage: Stage) -> None:
    events = await stage.idle()
    with tenant("acme"):
        await events.publish(Placed(order="a"))
        await events.publish(Placed(order="a"), tenant_id=None)
    await events.publish(Placed(order="a"))
    assert await tenants(stage) == ["acme", None, None]


@pytest.mark.parametrize("multi_tenant", [True, False])
@pytest.mark.parametrize("given", ["", " ", "\t\n", "a/b", "/", "x\x00", 7, "x" * 501, "\ud800"])
async def test_what_is_no_tenant_is_refused(stage: Stage, multi_tenant: bool, given: Any) -> None:
    events = await stage.idle(multi_tenant=multi_tenant)
    with pytest.raises(InvalidPayload, match="tenant_id"):
        await events.publish(Placed(order="a"), tenant_id=given)
    with pytest.raises(InvalidPayload, match="tenant_id"), tenant(given):
        pass
    assert await tenants(stage) == []


async def test_what_handlers_publish_belongs_to_the_events_tenant(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def ship(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order))

    @module.on(Shipped)
    async def ping(event: Shipped, publish: EventPublisher, session: HandlerSession) -> None:
        await publish(Pinged(number=1))
        await publish(Pinged(number=2), tenant_id="other")
        await publish(Pinged(number=3), tenant_id=None)

    events = await stage.idle(module, multi_tenant=True)
    await events.publish(Placed(order="a"), tenant_id="acme")
    await events.drain_once()
    assert await tenants(stage) == ["acme", "acme", "acme", "other", None]


async def test_an_event_of_no_tenant_has_no_children_by_oversight(stage: Stage) -> None:
    """Each publish says so itself: what is forgotten in the handler of a nightly event is noticed."""
    module = Module("shop")

    @module.on(Placed)
    def ship(event: Placed, publish: SyncEventPublisher) -> None:
        publish(Shipped(order=event.order))

    events = await stage.idle(module, multi_tenant=True, max_attempts=1)
    await events.publish(Placed(order="a"), tenant_id=None)
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("MissingTenantIdError")
    assert await tenants(stage) == [None]


def app_of(events: Events, *dependencies: Any) -> FastAPI:
    app = FastAPI(dependencies=[Depends(each) for each in dependencies])
    app.state.fastapi_events = events

    @app.post("/async")
    async def place(session: SessionDep, publish: Publisher) -> None:
        await publish(Placed(order="a"))
        await session.commit()

    @app.post("/def")
    def place_in_a_thread(session: SyncSessionDep, publish: SyncPublisher) -> None:
        publish(Placed(order="a"))
        session.commit()

    @app.post("/later")
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(events.publish, Placed(order="a"), detached=True)

    return app


async def tenant_of_key(x_key: Annotated[str, Header()] = "") -> str | None:
    return {"k1": "acme", "k2": "nordwind", "blank": " "}.get(x_key)


@pytest.mark.parametrize("path", ["/async", "/def", "/later"])
async def test_a_request_has_a_tenant(stage: Stage, sync_sessions: sessionmaker[Session], path: str) -> None:
    events = await stage.idle(multi_tenant=True, sync_sessions=sync_sessions)
    app = app_of(events, tenant_from(tenant_of_key))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        for key in ("k1", "k2", "k1"):
            assert (await http.post(path, headers={"x-key": key})).status_code == 200
        for key, error in (("nobody", MissingTenantIdError), ("blank", InvalidPayload)):
            with pytest.raises(error):
                await http.post(path, headers={"x-key": key})
    assert await tenants(stage) == ["acme", "nordwind", "acme"], "a request leaves nothing to the next one"
    with pytest.raises(MissingTenantIdError):
        await events.publish(Placed(order="a"))


async def test_the_order_of_the_dependencies_does_not_matter(stage: Stage) -> None:
    events = await stage.idle(multi_tenant=True)
    app = FastAPI()
    app.state.fastapi_events = events
    own = Depends(tenant_from(Annotated[str, Depends(tenant_of_key)]))

    @app.post("/before")
    async def before(publish: Publisher, session: SessionDep, whose: Annotated[str, own]) -> str:
        await publish(Placed(order="a"))
        await session.commit()
        return whose

    @app.post("/after")
    async def after(whose: Annotated[str, own], publish: Publisher, session: SessionDep) -> str:
        await publish(Placed(order="a"))
        await session.commit()
        return whose

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        for path in ("/before", "/after"):
            assert (await http.post(path, headers={"x-key": "k1"})).json() == "acme"
    assert await tenants(stage) == ["acme", "acme"]


@pytest.mark.parametrize("given", ["acme", None, 7, Annotated[str, "no dependency"]])
def test_a_tenant_comes_from_a_dependency(given: Any) -> None:
    with pytest.raises(DeclarationError, match="tenant_from"):
        tenant_from(given)


def test_a_block_of_nobodys_is_told_what_says_so() -> None:
    nobody: Any = None
    told = r"^tenant\(\): None is nobody, .* pass tenant_id=None to publish\.$"
    with pytest.raises(InvalidPayload, match=told), tenant(nobody):
        pass
