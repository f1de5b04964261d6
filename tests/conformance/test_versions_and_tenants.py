"""Older and newer payloads, and whose events they are."""

import logging
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


class OldPriced(Event, name="shop.order.priced", version=1, aggregate_id="order"):
    order: str


def hearing(seen: list[str], taken: type[Priced | OldPriced]) -> Module:
    """A module whose broadcast handler takes one of the two; of version 1 nothing but the order can be noted."""
    module = Module("shop")
    if taken is Priced:

        @module.upcast(Priced, from_version=1)
        def add_currency(payload: dict[str, Any]) -> dict[str, Any]:
            if payload["order"] == "bad":
                raise LookupError("no currency")
            return payload | {"currency": "EUR"}

    @module.on(taken, id="shop.hear", broadcast=True)
    async def hear(event: Any) -> None:
        seen.append(f"{event.order} {getattr(event, 'currency', '-')}")

    return module


async def test_a_broadcast_handler_hears_of_older_payloads(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    seen = list[str]()
    events = await backend.idle(hearing(seen, Priced))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Priced(order="a", currency="USD"))
        await publisher.raw("shop.order.priced", {"order": "a"}, version=1, aggregate_id="a")
        await publisher(Priced(order="a", currency="CHF"))
        await session.commit()
    await events.drain_once()
    assert seen == ["a USD", "a EUR", "a CHF"]
    assert caplog.messages == []


async def test_a_broadcast_handler_leaves_out_what_cannot_be_lifted_and_hears_the_rest(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[str]()
    events = await backend.idle(hearing(seen, Priced))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Priced(order="bad", currency="USD"))
        bad = await publisher.raw("shop.order.priced", {"order": "bad"}, version=1, aggregate_id="bad")
        await publisher(Priced(order="bad", currency="CHF"))
        await session.commit()
    await events.drain_once()
    await events.drain_once()
    assert seen == ["bad USD", "bad CHF"]
    [line] = caplog.messages
    assert f"failed for shop.order.priced {bad.event_id} in this process" in line
    assert "UpcastFailed" in line
    assert "LookupError: no currency" in line


async def test_a_broadcast_handler_skips_what_is_newer_than_its_class(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[str]()
    events = await backend.idle(hearing(seen, OldPriced))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(OldPriced(order="a"))
        newer = await publisher(Priced(order="b", currency="USD"))
        await publisher(OldPriced(order="c"))
        await session.commit()
    with caplog.at_level(logging.INFO, logger="fastapi_events"):
        await events.drain_once()
        await events.drain_once()
    assert sorted(seen) == ["a -", "c -"]
    [line] = [line for line in caplog.messages if "shop.hear" in line]
    assert line.startswith(f"broadcast handler shop.hear: skipped shop.order.priced {newer.event_id}")
    assert "version 2" in line
    assert "version 1 and older" in line


@pytest.mark.parametrize(("taken", "heard"), [(Priced, "a USD"), (OldPriced, "a -")])
async def test_a_broadcast_handler_takes_its_version_of_what_is_published_in_several(
    backend: Backend, caplog: pytest.LogCaptureFixture, taken: type[Priced | OldPriced], heard: str
) -> None:
    seen = list[str]()
    events = await backend.idle(hearing(seen, taken))
    await publish(events, Priced(order="a", currency="USD"), also=OldPriced(order="a"))
    await events.drain_once()
    assert seen == [heard]
    assert caplog.messages == []


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
