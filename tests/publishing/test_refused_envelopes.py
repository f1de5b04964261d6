"""What the log or its indexes could not hold is refused when it is published, with the name of the thing."""

import random
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from fastapi_events.api.session_binding import bind_async
from fastapi_events.errors import InvalidPayload
from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import MAX_HEADERS_SIZE, MAX_KEY_BYTES, PublishOptions, PublishRules, seal, seal_raw
from fastapi_events.model.event import Event, RawEvent
from tests.publishing.shop import Log, Port

EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))


class Keyed(Event, name="shop.item.keyed", aggregate_id="item"):
    item: str


class Homed(Event, name="shop.item.homed", aggregate="ho\x00me", aggregate_id="item"):
    item: str


def sealed(event: Event, **given: Any) -> Any:
    return seal(event, PublishRules(), Flow(), PublishOptions(**given))


def sealed_raw(payload: Any = None, **options: Any) -> Any:
    return seal_raw(RawEvent("shop.item.raw", 1, payload), PublishRules(), Flow(), **options)


def letters(count: int, seed: int = 1) -> str:
    """Characters of four bytes in an order that no compression helps with."""
    draw = random.Random(seed)
    return "".join(chr(draw.randrange(0x10000, 0x2FFFF)) for _ in range(count))


class Nowhere(tzinfo):
    """A time zone that does not know where it is."""

    def utcoffset(self, _: Any) -> None:
        return None


@pytest.mark.parametrize(
    "moment",
    [
        datetime.min.replace(tzinfo=EAST),
        datetime.max.replace(tzinfo=WEST),
        datetime(2020, 1, 1),  # noqa: DTZ001 - the very thing
        datetime(2020, 1, 1, tzinfo=Nowhere()),
        "2020-01-01T00:00:00Z",
    ],
)
def test_moments_that_no_log_can_hold(moment: Any) -> None:
    with pytest.raises(InvalidPayload, match="occurred_at") as caught:
        sealed(Keyed(item="a"), occurred_at=moment)
    assert caught.value.path == "$.occurred_at"


async def test_the_first_and_the_last_moment_are_kept(
    port: Port, sessions: async_sessionmaker[AsyncSession], log: Log
) -> None:
    moments = [
        datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC, microsecond=0),
        datetime(2020, 1, 1, tzinfo=EAST), datetime(1, 1, 1, 14, tzinfo=EAST),
    ]  # fmt: skip
    async with sessions() as session:
        for moment in moments:
            await bind_async(port, session)(Keyed(item="a"), occurred_at=moment)
        await session.commit()
    assert [row["occurred_at"] for row in await log.rows()] == moments


@pytest.mark.parametrize("aggregate", ["a\x00b", "a\ud800b", "a" * 501, 7])
def test_aggregates_are_texts_as_others(aggregate: Any) -> None:
    with pytest.raises(InvalidPayload, match="aggregate"):
        sealed_raw(aggregate=aggregate)
    with pytest.raises(InvalidPayload, match="aggregate"):
        sealed_raw(aggregate=aggregate, aggregate_id="a")


def test_aggregates_of_classes_are_checked_too() -> None:
    with pytest.raises(InvalidPayload, match="aggregate"):
        sealed(Homed(item="a"))


def test_keys_too_long_for_an_index() -> None:
    for event, given in [
        (Keyed(item=letters(490)), {"tenant_id": letters(400, 2)}),
        (Keyed(item="a"), {"tenant_id": letters(400, 2), "key": letters(490)}),
    ]:
        with pytest.raises(InvalidPayload, match=r"the ordering key .* bytes in UTF-8; 2,500 are the most") as caught:
            sealed(event, **given)
        assert caught.value.path == "$.key"
    with pytest.raises(InvalidPayload, match=r"2,500 are the most"):
        sealed_raw(aggregate=letters(400), aggregate_id=letters(490), given=PublishOptions(key="short"))


async def test_the_longest_keys_fit_every_index(
    port: Port, sessions: async_sessionmaker[AsyncSession], log: Log
) -> None:
    long = sealed(Keyed(item=letters(311)), tenant_id=letters(311, 2)).key
    tenant, item = letters(311, 2), letters(311) + "x" * (MAX_KEY_BYTES - len(long.encode()))
    assert len(sealed(Keyed(item=item), tenant_id=tenant).key.encode()) == MAX_KEY_BYTES
    ascii_key = sealed_raw(aggregate="a" * 500, aggregate_id="b" * 500, given=PublishOptions(tenant_id="c" * 500))
    assert len(ascii_key.key) == 1502
    async with sessions() as session:
        publisher = bind_async(port, session)
        await publisher(Keyed(item=item), tenant_id=tenant)
        await publisher.raw("shop.item.raw", 1, aggregate=letters(124), aggregate_id=letters(500))
        await session.commit()
    key = (await log.rows())[0]["key"]
    await log.fetch(
        "INSERT INTO events.parked_key (handler_id, slot, due_at) SELECT 2147483647, $1, 'infinity' RETURNING slot", key
    )
    await log.fetch("DELETE FROM events.parked_key WHERE handler_id = 2147483647")


def test_headers_have_a_size() -> None:
    sealed(Keyed(item="a"), headers={"a": "x" * (MAX_HEADERS_SIZE - 10)})
    with pytest.raises(InvalidPayload, match="headers have 65,") as caught:
        sealed(Keyed(item="a"), headers={"a": "é" * (MAX_HEADERS_SIZE // 2)})
    assert caught.value.path == "$.headers"


@pytest.mark.parametrize("payload", [{"1": 2, 1: 3}, {"a": [{None: 1}]}, {True: 1}, {1.5: 1}])
def test_names_in_raw_payloads_are_strings(payload: Any) -> None:
    with pytest.raises(InvalidPayload, match="names in a JSON object are strings"):
        sealed_raw(payload)
