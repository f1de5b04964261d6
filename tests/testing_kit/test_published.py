"""Assertions about what has been published."""

from typing import Annotated
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import Event, Events, Module, Secret
from fastapi_events.errors import UnknownOption
from fastapi_events.testing import PublishedEvents
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, publish


async def test_what_is_committed_is_found_by_class_and_fields(stage: Stage) -> None:
    events = await stage.idle()
    published = PublishedEvents(events)
    await publish(
        events, [Placed(order="a", number=1), Placed(order="a", number=2), Pinged(number=1)], headers={"h": "1"}
    )
    found = await published.one(Placed, number=2)
    assert found.event == Placed(order="a", number=2)
    assert (found.name, found.headers, found.key is not None, found.due_at) == (
        "shop.order.placed",
        {"h": "1"},
        True,
        None,
    )
    assert [one.event.number for one in await published.all(Placed, order="a")] == [1, 2]
    assert [one.event.number for one in await published.all(Placed, where=lambda e: e.number > 1)] == [2]
    assert [one.name for one in await published.everything()] == [*["shop.order.placed"] * 2, "shop.page.pinged"]
    await published.none(Shipped)
    last = (await published.everything())[-1].position
    assert last is not None
    assert await PublishedEvents(events, after=last).everything() == []


async def test_an_open_session_tells_what_it_has_published(stage: Stage) -> None:
    events = await stage.idle()
    published = PublishedEvents(events)
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=1))
        await publisher(Placed(order="b", number=2), event_id=uuid4())  # written at once
        async with session.begin_nested() as savepoint:
            await publisher(Pinged())
            await published(session).one(Pinged)
            await savepoint.rollback()
        await published(session).none(Pinged)
        assert {one.event.number for one in await published(session).all(Placed)} == {1, 2}
        assert (await published(session).one(Placed, order="a")).position is None
        await published(session.sync_session).one(Placed, order="a")
        await published.none(Placed)
        await session.commit()
        await published(session).none(Placed)
    assert len(await published.all(Placed)) == 2


async def test_scheduled_events_are_published_too(stage: Stage) -> None:
    events = await stage.idle()
    await events.publish(Placed(order="a"), delay=60)
    found = await PublishedEvents(events).one(Placed)
    assert found.position is None
    assert found.due_at is not None
    async with events.session() as session:
        await events.publish(Pinged(), session=session, delay=60)
        await PublishedEvents(events)(session).one(Pinged)
        await session.rollback()


async def test_a_failed_assertion_says_what_there_was(stage: Stage) -> None:
    events = await stage.idle()
    published = PublishedEvents(events)
    await publish(events, [Placed(order="a", number=7), Pinged(), Pinged()])
    with pytest.raises(AssertionError) as missing:
        await published.one(Placed, order="a", number=8)
    assert "Placed(order='a', number=8): exactly one expected, none published." in str(missing.value)
    assert "number=7 (not 8), order='a'" in str(missing.value)
    assert "Other events: shop.page.pinged (2)." in str(missing.value)
    with pytest.raises(AssertionError, match="exactly one expected, 2 published"):
        await published.one(Pinged)
    with pytest.raises(AssertionError, match="none expected, 1 published"):
        await published.none(Placed)
    with pytest.raises(AssertionError, match=r"There is no shop\.order\.shipped"):
        await published.one(Shipped)


class Bank(BaseModel):
    iban: Annotated[str, Secret]


class Charged(Event, name="kit.card.charged", aggregate_id="order"):
    order: str
    card: Annotated[str, Secret]
    pin: int | None = None
    bank: Bank | None = None


async def test_a_failed_assertion_shows_no_secret(stage: Stage) -> None:
    events = await stage.idle()
    published = PublishedEvents(events)
    bank = Bank(iban="DE-8888")
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Charged(order="a", card="4444-5555", pin=7777, bank=bank))
        await publisher.raw(
            "kit.card.charged", {"order": "b", "card": "4444-5555", "bank": {"iban": "DE-8888"}}, version=9
        )
        await session.commit()
    with pytest.raises(AssertionError) as missing:
        await published.one(Charged, order="c", card="4444-6666")
    told = str(missing.value)
    assert "Charged(order='c', card=••••••): exactly one expected" in told
    assert "order='a' (not 'c'), card=•••••• (not ••••••), pin=••••••, bank=••••••" in told
    assert "'order': 'b'" in told
    assert not [secret for secret in ("4444", "7777", "8888", "6666") if secret in told]


async def test_wrong_questions_are_refused(stage: Stage) -> None:
    events = await stage.idle()
    published = PublishedEvents(events)
    with pytest.raises(UnknownOption, match="Did you mean 'number'"):
        await published.none(Placed, numbr=1)
    with pytest.raises(TypeError, match="has a name="):
        await published.one(Event)
    with pytest.raises(TypeError, match="takes the session"):
        published(events)


async def test_older_versions_are_lifted_and_unreadable_ones_do_not_hide(stage: Stage) -> None:
    module = Module("shop")

    class Renamed(Event, name="kit.thing.renamed", version=2):
        title: str

    @module.upcast(Renamed, from_version=1)
    def from_one(payload: dict[str, str]) -> dict[str, str]:
        return {"title": payload["name"]}

    events: Events = await stage.idle(module)
    async with events.session() as session:
        await events.publisher(session).raw("kit.thing.renamed", {"name": "x"}, version=1)
        await events.publisher(session).raw("kit.thing.renamed", {"wrong": 1}, version=2)
        await session.commit()
    published = PublishedEvents(events)
    assert (await published.one(Renamed)).event.title == "x"
    assert len(await published.everything()) == 2
    assert await stage.value("SELECT count(*) FROM events.event") == 2
