"""Older and newer payloads, and whose events they are."""

from typing import Any

import pytest

from fastapi_events import Event, Module
from fastapi_events.errors import MissingTenantIdError, NotFound
from tests.conformance.backends import Backend, publish
from tests.delivery.stage import Placed


class Priced(Event, name="shop.order.priced", version=2, aggregate_id="order"):
    """Version 1 had no currency."""

    order: str
    currency: str


def lifting(seen: list[str]) -> Module:
    module = Module("shop")

    @module.upcast(Priced, from_version=1)
    def add_currency(payload: dict[str, Any]) -> dict[str, Any]:
        return payload | {"currency": "EUR"}

    @module.on(Priced)
    async def note(event: Priced) -> None:
        seen.append(event.currency)

    return module


async def test_an_older_payload_is_lifted(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(lifting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher.raw("shop.order.priced", {"order": "a"}, version=1, aggregate_id="a")
        await publisher(Priced(order="a", currency="USD"))
        await session.commit()
    await events.drain_once()
    assert seen == ["EUR", "USD"]


async def test_a_newer_payload_waits_with_its_key(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(lifting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher.raw("shop.order.priced", {"order": "a", "money": 1}, version=3, aggregate_id="a")
        await publisher(Priced(order="a", currency="USD"))
        await publisher(Priced(order="b", currency="CHF"))
        await session.commit()
    await events.drain_once()
    assert seen == ["CHF"]
    found = (await events.observe.events("status:waiting")).events
    assert [one.handlers[0].reason for one in reversed(found)] == ["no_handler", "key_blocked"]


async def test_without_a_tenant_nothing_is_published_where_one_is_needed(backend: Backend) -> None:
    events = await backend.idle(multi_tenant=True)
    with pytest.raises(MissingTenantIdError):
        await events.publish(Placed(order="a"))
    async with events.session() as session:
        publisher = events.publisher(session)
        with pytest.raises(MissingTenantIdError):
            await publisher(Placed(order="a"))
        await publisher(Placed(order="a"), tenant_id=None)
        await publisher(Placed(order="a"), tenant_id="acme")
        await session.commit()
    assert [one.tenant_id for one in (await events.observe.events()).events] == ["acme", None]


async def test_keys_are_each_tenants_own(backend: Backend) -> None:
    module, seen = Module("shop"), list[tuple[int, str | None]]()

    @module.on(Placed)
    async def sell(event: Placed) -> None:
        if event.number == 1:
            raise RuntimeError("dead")
        seen.append((event.number, event.order))

    events = await backend.idle(module, max_attempts=1)
    await publish(events, Placed(order="a", number=1), Placed(order="a", number=2), tenant_id="acme")
    await publish(events, Placed(order="a", number=3), tenant_id="globex")
    await events.drain_once()
    assert seen == [(3, "a")]


async def test_operators_of_a_tenant_find_theirs_alone(backend: Backend) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def sell(event: Placed) -> None:
        raise RuntimeError("dead")

    events = await backend.idle(module, max_attempts=1)
    for tenant in ("acme", "globex"):
        await events.publish(Placed(order=tenant), tenant_id=tenant)
    waiting = await events.publish(Placed(order="later"), tenant_id="acme", delay=60)
    await events.drain_once()
    theirs = events.observe.within("acme")
    [mine] = (await theirs.dead_letters()).dead_letters
    assert [one.tenant_id for one in (await theirs.events()).events] == ["acme"]
    other = next(one for one in (await events.observe.dead_letters()).dead_letters if one.id != mine.id)
    assert await theirs.delivery(other.id) is None
    with pytest.raises(NotFound):
        await events.operations.within("acme").redrive([mine.id, other.id], actor="ann")
    with pytest.raises(NotFound):
        await events.operations.within("globex").cancel_scheduled(waiting.event_id, actor="gil")
    assert (await events.observe.dead_letters()).matching == 2
    assert await events.operations.within("acme").cancel_scheduled(waiting.event_id, actor="ann")
