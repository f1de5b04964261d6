"""An event that carries its payload in several versions gives each handler the one it asks for."""

import json
from typing import Any

import pytest

from fastapi_events import Event, EventPublisher, HandlerSession, Module, RawEvent, Retry, fixed
from tests.delivery.stage import Placed, Stage, effect, publish
from tests.delivery.test_versions import Billed1, Billed2, Billed3, release, to_cents, with_currency


def beside(number: int = 1) -> tuple[Event, Event]:
    return Billed3(order="a", cents=number, currency="SEK"), Billed1(order="a", amount=number)


async def test_each_handler_gets_its_version_exactly_or_lifted_from_the_one_below(stage: Stage) -> None:
    seen: list[Any] = []
    newest = release(seen, Billed3)
    for event in (Billed1, Billed2):

        @newest.on(event, id=f"shop.{event.__name__}")
        async def bill(event: Any) -> None:
            seen.append(event)

    events = await stage.idle(newest)
    now, before = beside(7)
    await events.publish(now, also=before)
    await events.drain_once()
    assert sorted(seen, key=lambda event: type(event).__name__) == [
        Billed1(order="a", amount=7),
        Billed2(order="a", cents=700),
        Billed3(order="a", cents=7, currency="SEK"),
    ]
    assert await stage.value("SELECT count(*) FROM events.event") == 1
    assert await stage.deliveries() == []


async def test_both_releases_handle_it_and_nothing_waits(stage: Stage) -> None:
    old_seen: list[Any] = []
    new_seen: list[Any] = []
    old, new = await stage.idle(release(old_seen, Billed1)), await stage.idle(release(new_seen, Billed3))
    for number in (1, 2):
        now, before = beside(number)
        await new.publish(now, also=before)
        await (old if number == 1 else new).drain_once()
    assert (old_seen, new_seen) == ([Billed1(order="a", amount=1)], [Billed3(order="a", cents=2, currency="SEK")])
    assert await stage.deliveries() == []


async def test_the_newest_below_is_lifted_and_not_the_row_s_own(stage: Stage) -> None:
    class Billed4(Event, name="shop.order.billed", version=4):
        order: str
        cents: int
        currency: str

    module, seen = Module("shop"), []
    for version, step in enumerate((to_cents, with_currency, dict), 1):
        module.upcast(Billed4, from_version=version)(step)

    @module.on(Billed4)
    async def bill(event: Billed4) -> None:
        seen.append((event.cents, event.currency))

    events = await stage.idle(module)
    now, before = beside(7)
    await events.publish(before, also=now)
    await events.drain_once()
    assert seen == [(7, "SEK")]


async def test_a_handler_between_the_versions_waits_if_all_are_newer(stage: Stage) -> None:
    old, new_seen = await stage.idle(release([], Billed1)), []
    await old.publish(Billed3(order="a", cents=1, currency="SEK"), also=Billed2(order="a", cents=2))
    await old.drain_once()
    assert [row["reason"] for row in await stage.deliveries()] == ["no_handler"]
    assert await stage.value("SELECT needs FROM events.parked_key") == 2
    new = await stage.idle(release(new_seen, Billed2))
    await new.drain_once()
    assert new_seen == [Billed2(order="a", cents=2)]


async def test_a_retried_and_a_redriven_delivery_have_the_same_choice(stage: Stage) -> None:
    """The second attempt is read by another statement, and a dead letter's from the copy that it keeps."""
    module, seen = Module("shop"), []

    @module.on(Billed1, retry=Retry(2, fixed(0)))
    async def bill(event: Billed1) -> None:
        seen.append(event.amount)
        if len(seen) < 3:
            raise ValueError("not yet")

    events = await stage.idle(module)
    now, before = beside(7)
    await events.publish(now, also=before)
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert json.loads(dead["event"])["other_versions"] == {"1": {"order": "a", "amount": 7}}
    await stage.rows("DELETE FROM events.event")
    await events.operations.redrive([dead["id"]], actor="me")
    await events.drain_once()
    assert seen == [7, 7, 7]


@pytest.mark.parametrize("session", [True, False])
async def test_what_a_handler_publishes_may_carry_several_versions(stage: Stage, session: bool) -> None:
    module, seen = Module("shop"), []
    now, before = beside(3)

    if session:

        @module.on(Placed, id="shop.place")
        async def place(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
            await effect(session, "place", event.number)
            await publish(now, also=before)

    else:

        @module.on(Placed, id="shop.place")
        async def place_plainly(event: Placed, publish: EventPublisher) -> None:
            await publish(now, also=before)

    @module.on(Billed1)
    async def bill(event: Billed1) -> None:
        seen.append(event)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a")])
    await events.drain_once()
    assert seen == [before]


async def test_wildcards_get_the_newest_class_that_is_known_and_raw_handlers_what_the_row_is(stage: Stage) -> None:
    module, seen, raw = Module("shop"), [], []

    @module.on("shop.*")
    async def handle(event: Event | RawEvent) -> None:
        seen.append(event)

    @module.on("shop.*", id="shop.raw")
    async def keep(event: RawEvent) -> None:
        raw.append(event)

    publisher = await stage.idle()
    now, before = beside(7)
    await publisher.publish(now, also=before)
    events = await stage.idle(module)
    await publisher.publish(now, also=before)
    events.registry.learn(Billed1)
    await events.drain_once()
    assert seen == [before]
    assert raw == [RawEvent("shop.order.billed", 3, {"order": "a", "cents": 7, "currency": "SEK"})]


async def test_a_row_whose_other_versions_somebody_wrote_badly_has_its_own(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.idle(release(seen, Billed2))
    for other in ('{"x": 1}', "[1]", '"text"', '{"2": 5}'):
        await stage.rows(
            "INSERT INTO events.event (lane, partition, name, id, correlation_id, payload, other_versions) "
            "SELECT 1, 0, 'shop.order.billed', gen_random_uuid(), gen_random_uuid(), $1::text::jsonb, $2::text::jsonb",
            '{"order": "a", "amount": 1}', other,
        )  # fmt: skip
    await events.drain_once()
    assert seen == [Billed2(order="a", cents=100)] * 3
    [dead] = await stage.deliveries()
    assert dead["reason"] == "invalid_payload"
