"""One event in several versions is one row, whichever way it is written; two facts are refused before any SQL."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.errors import DuplicateEvent, InvalidPayload, PayloadTooLarge, PublishError
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.event import Event
from tests.publishing.shop import Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]


class Sold1(Event, name="shop.thing.sold", aggregate_id="thing"):
    thing: int
    price: int = 1


class Sold2(Event, name="shop.thing.sold", version=2, aggregate_id="thing"):
    thing: int
    cents: int = 100


class Sold3(Event, name="shop.thing.sold", version=3, aggregate_id="thing"):
    thing: int
    cents: int = 100
    note: str = ""


class SoldOtherwise(Event, name="shop.thing.sold", version=4, aggregate="shop", aggregate_id="thing"):
    thing: int


class SoldOutside(Event, name="shop.thing.sold", version=5, aggregate_id="thing", direction="outbound"):
    thing: int


class SoldAgain(Event, name="shop.thing.sold", version=2, aggregate_id="thing"):
    thing: int


BESIDE = {"1": {"thing": 7, "price": 1}, "3": {"thing": 7, "cents": 100, "note": "é \\u"}}
ALSO = [Sold1(thing=7), Sold3(thing=7, note="é \\u")]


def checked(row: Any) -> None:
    assert (row["version"], json.loads(row["payload"])) == (2, {"thing": 7, "cents": 100})
    assert json.loads(row["other_versions"]) == BESIDE
    assert (row["aggregate_id"], row["key"]) == ("7", "/thing/7")


@pytest.mark.parametrize(
    "options",
    [{}, {"tenant_id": None, "headers": {"a": "b"}}, {"event_id": UUID(int=7)}],
    ids=["fresh", "told", "given"],
)
@pytest.mark.parametrize("by", ["the driver", "SQLAlchemy"])
async def test_it_is_one_row_with_every_payload(
    port: Port, sessions: Sessions, log: Log, by: str, options: dict[str, Any]
) -> None:
    async with sessions() as session:
        if by == "the driver":
            await session.execute(text("SELECT 1"))
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        answer = await publish(Sold2(thing=7), also=ALSO, **options)
        await publish(Noted(number=2), tenant_id="acme")
        await session.commit()
    first, row, last = await log.rows()
    checked(row)
    assert row["id"] == answer.event_id
    assert (first["other_versions"], last["other_versions"]) == (None, None)


def test_it_is_so_with_a_plain_driver_too(port: Port, sync_sessions: sessionmaker[Session]) -> None:
    with sync_sessions() as session:
        bind_sync(port, session)(Sold2(thing=7), also=ALSO)
        session.commit()
        [row] = session.execute(text("SELECT *, other_versions::text, payload::text FROM events.event")).mappings()
        assert row["version"] == 2
        assert json.loads(session.scalar(text("SELECT other_versions::text FROM events.event"))) == BESIDE


async def test_more_than_one_statement_takes_at_once(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        await session.execute(text("SELECT 1"))
        publish = bind_async(port, session)
        for number in (1, 25):
            for _ in range(number):
                await publish(Sold2(thing=7), also=ALSO)
            await session.commit()
            await session.execute(text("SELECT 1"))
    rows = await log.rows()
    assert len(rows) == 26
    for row in rows:
        checked(row)


async def test_the_older_one_may_come_first_and_one_needs_no_list(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        await bind_async(port, session)(Sold1(thing=7), also=Sold2(thing=7))
        await bind_async(port, session)(Sold1(thing=8), also=[])
        await session.commit()
    both, alone = await log.rows()
    assert (both["version"], json.loads(both["other_versions"])) == (1, {"2": {"thing": 7, "cents": 100}})
    assert (alone["version"], alone["other_versions"]) == (1, None)


async def test_a_key_that_is_given_holds_for_all(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        await bind_async(port, session)(Sold2(thing=7), also=Sold1(thing=7), key="own")
        await session.commit()
    [row] = await log.rows()
    assert row["key"] == "/thing/own"


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (
        Noted(number=1),
        PublishError,
        r"'shop.thing.sold': also=... is version 1 of 'shop.item.noted' with name 'shop.item",
    ),
    (Sold1(thing=8), PublishError, r"with aggregate_id '8' in place of '7'.*publish another fact by itself"),
    (SoldOtherwise(thing=7), PublishError, r"with aggregate 'shop' in place of 'thing'"),
    (SoldOutside(thing=7), PublishError, r"with lane 2 in place of 1"),
    (Sold2(thing=7), PublishError, r"two payloads of version 2. Each version is given once"),
    ([Sold1(thing=7), Sold1(thing=7)], PublishError, r"two payloads of version 1"),
    ([Sold1(thing=7), "x"], PublishError, r"is neither an event nor a list of events. Pass an instance"),
    (Sold1, PublishError, r"is neither an event nor a list"),
    ({"1": {}}, PublishError, r"is neither an event nor a list"),
    (SoldAgain(thing=7), DuplicateEvent, r"both declare the event 'shop.thing.sold', version 2"),
    (Sold1.model_construct(thing="x"), InvalidPayload, r"thing: Input should be a valid integer"),
]


@pytest.mark.parametrize(("also", "kind", "told"), REFUSED)
async def test_two_facts_are_refused_before_any_sql(
    port: Port, sessions: Sessions, log: Log, also: Any, kind: type[Exception], told: str
) -> None:
    async with sessions() as session:
        with pytest.raises(kind, match=told):
            await bind_async(port, session)(Sold2(thing=7), also=also)
        await session.commit()
    assert await log.rows() == []


async def test_the_size_of_all_payloads_together_is_limited(port: Port, sessions: Sessions, log: Log) -> None:
    port.rules = PublishRules(max_payload_size=100)
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Sold3(thing=7, note="x" * 40))
        with pytest.raises(PayloadTooLarge, match=r"1\d\d bytes in its 3 versions together; max_payload_size is 100"):
            await publish(Sold3(thing=7, note="x" * 40), also=[Sold1(thing=7), Sold2(thing=7)])
        await session.commit()
    assert len(await log.rows()) == 1


async def test_it_belongs_to_one_event_of_a_class(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        publish: Any = bind_async(port, session)
        with pytest.raises(PublishError, match=r"publish.many\(\) takes no also="):
            await publish.many([Sold2(thing=7)], also=Sold1(thing=7))
        with pytest.raises(PublishError, match=r"publish.raw\(\) takes no also="):
            await publish.raw("shop.thing.sold", {}, also=Sold1(thing=7))
