"""No event without a tenant, on the roads beside plain publishing: scheduled, in versions, past middleware, by rows."""

import json
from typing import Any

import pytest
from sqlalchemy import MetaData, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_events import (
    Event,
    EventPublisher,
    HandlerSession,
    Middleware,
    Module,
    PublishContext,
    PublishNext,
    emits,
    tenant,
)
from fastapi_events.errors import MissingTenantIdError
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Pinged, Placed, Shipped, Stage
from tests.scheduling.test_moving import make_due


class Sold1(Event, name="shop.thing.sold", aggregate_id="thing"):
    thing: str


class Sold2(Event, name="shop.thing.sold", version=2, aggregate_id="thing"):
    thing: str
    cents: int = 1


class Base(DeclarativeBase):
    metadata = MetaData()


class ShelfCreated(Event, name="shop.shelf.created", aggregate_id="id"):
    id: int


@emits(ShelfCreated)
class Shelf(Base):
    __tablename__ = "tenancy_shelf"
    id: Mapped[int] = mapped_column(primary_key=True)


async def tenants(stage: Stage, table: str = "event") -> list[Any]:
    rows = await stage.rows(f"SELECT name, tenant_id FROM events.{table} ORDER BY name, tenant_id NULLS FIRST")
    return [row["tenant_id"] for row in rows]


async def test_a_scheduled_event(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def ship(event: Placed, publish: EventPublisher) -> None:
        await publish(Shipped(order=event.order), delay=60)

    events = await stage.idle(module, multi_tenant=True)
    with pytest.raises(MissingTenantIdError, match="Placed"):
        await events.publish(Placed(order="a"), delay=60)
    with tenant("acme"):
        await events.publish(Placed(order="a"), delay=60)
        await events.publish(Pinged(), delay=60, tenant_id=None)
    await events.publish(Placed(order="a"), delay=60, tenant_id="nordwind")
    assert await tenants(stage, "scheduled_event") == ["acme", "nordwind", None]
    await make_due(stage)
    await events.drain_once()
    assert await tenants(stage) == ["acme", "nordwind", None]
    assert [row["key"] for row in await stage.rows("SELECT key FROM events.event ORDER BY key LIMIT 2")] == [
        "acme/order/a", "nordwind/order/a",
    ]  # fmt: skip
    assert await tenants(stage, "scheduled_event") == ["acme", "nordwind"], "children that wait in their turn"


async def test_an_event_in_several_versions(stage: Stage) -> None:
    events = await stage.idle(multi_tenant=True)
    with pytest.raises(MissingTenantIdError, match="Sold2"):
        await events.publish(Sold2(thing="a"), also=Sold1(thing="a"))
    with tenant("acme"):
        await events.publish(Sold2(thing="a"), also=Sold1(thing="a"))
        await events.publish(Sold2(thing="a"), also=[Sold1(thing="a")], tenant_id=None)
    rows = await stage.rows("SELECT tenant_id, key, other_versions FROM events.event ORDER BY position")
    assert [(row["tenant_id"], row["key"]) for row in rows] == [("acme", "acme/thing/a"), (None, "/thing/a")]
    assert all(json.loads(row["other_versions"]) == {"1": {"thing": "a"}} for row in rows)


class Through(Middleware):
    """Passes on what it is told to, and notes what it was given."""

    def __init__(self) -> None:
        self.changes: dict[str, Any] = {}
        self.seen: list[tuple[str | None, bool]] = []

    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        self.seen.append((context.tenant_id, context.tenant_said))
        await call_next(context.replace(**self.changes))


SAID: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    # What publish was given, what the middleware changes, and whose it is in a block of tenant('acme').
    ({}, {}, "acme"),
    ({"tenant_id": None}, {}, None),
    ({"tenant_id": None}, {"headers": {"a": "b"}}, None),
    ({"tenant_id": "nordwind"}, {"key": "k"}, "nordwind"),
    ({}, {"tenant_id": None}, None),
    ({}, {"tenant_id": "nordwind"}, "nordwind"),
    ({"tenant_id": None}, {"tenant_id": "nordwind"}, "nordwind"),
    ({"tenant_id": "nordwind"}, {"tenant_id": None}, None),
]


@pytest.mark.parametrize("multi_tenant", [True, False])
async def test_past_middleware(stage: Stage, multi_tenant: bool) -> None:
    through = Through()
    events = stage.make(multi_tenant=multi_tenant, middleware=[through])
    await events.start(drains=False)
    with tenant("acme"):
        for options, through.changes, whose in SAID:
            await events.publish(Placed(order="a"), **options)
            row = await stage.rows("SELECT tenant_id FROM events.event ORDER BY position DESC LIMIT 1")
            assert row[0]["tenant_id"] == whose, (options, through.changes)
            assert through.seen[-1] == (options.get("tenant_id", "acme"), "tenant_id" in options)
    through.changes = {"tenant_id": None}
    await events.publish(Placed(order="a"))
    assert through.seen[-1] == (None, False)
    through.changes = {"headers": {"a": "b"}}
    await events.publish(Placed(order="a"), tenant_id=None)
    if multi_tenant:
        with pytest.raises(MissingTenantIdError):
            await events.publish(Placed(order="a"))


async def test_rows_that_tell_of_themselves(stage: Stage, clean_database: str) -> None:
    engine = create_async_engine(sqlalchemy_url(clean_database))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        module = Module("shop")

        @module.on(Placed)
        async def add(event: Placed, session: HandlerSession) -> None:
            session.add(Shelf(id=event.number))

        events = await stage.idle(module, multi_tenant=True, sessions=sessions)
        async with sessions() as session:
            session.add(Shelf(id=1))
            with pytest.raises(MissingTenantIdError, match="ShelfCreated"):
                await session.commit()
        async with sessions() as session:
            assert (await session.scalars(select(Shelf))).all() == [], "neither the row nor its event"
            session.add(Shelf(id=2))
            with tenant("acme"):
                await session.commit()
        await events.publish(Placed(order="a", number=3), tenant_id="nordwind")
        await events.drain_once()
        rows = await stage.rows("SELECT payload, tenant_id FROM events.event WHERE name = 'shop.shelf.created'")
        found = sorted((json.loads(row["payload"])["id"], row["tenant_id"]) for row in rows)
        assert found == [(2, "acme"), (3, "nordwind")]
    finally:
        await stage.close()
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()
