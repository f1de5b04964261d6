"""Handlers get the version they ask for: the stored one, one lifted from it, or a newer one from another release."""

import json
from typing import Any

import pytest

from fastapi_events import Delivery, Event, HandlerSession, Module, RawEvent, Retry, fixed
from tests.delivery.stage import SLOW, Stage, effect, publish, until, within

INSERT = """
    INSERT INTO events.event (lane, partition, name, version, id, correlation_id, key, payload)
    SELECT 1, 0, 'shop.order.billed', $1, gen_random_uuid(), gen_random_uuid(), $2, $3::text::jsonb
"""


class Billed1(Event, name="shop.order.billed", aggregate_id="order"):
    order: str
    amount: int


class Billed2(Event, name="shop.order.billed", version=2, aggregate_id="order"):
    order: str
    cents: int


class Billed3(Event, name="shop.order.billed", version=3, aggregate_id="order"):
    order: str
    cents: int
    currency: str


class Lately(Event, name="shop.order.billed", version=3, oldest_version=2):
    order: str


def to_cents(payload: dict[str, Any]) -> dict[str, Any]:
    payload["cents"] = payload.pop("amount") * 100
    return payload


def with_currency(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "currency": "EUR"}


def release(seen: list[Any], event: type[Event], *, name: str = "shop.bill", retry: Retry | None = None) -> Module:
    """A release whose handler takes this class, with the upcasters that belong to it."""
    module = Module("shop")
    version = event.__event_options__.version if event.__event_options__ else 1
    for number, step in enumerate((to_cents, with_currency), 1):
        if number < version:
            module.upcast(event, from_version=number)(step)

    @module.on(event, id=name, retry=retry)
    async def bill(event: Any) -> None:
        seen.append(event)

    return module


async def test_a_stored_event_is_lifted_step_by_step_to_the_version_each_handler_asks_for(stage: Stage) -> None:
    seen: list[Any] = []
    module = release(seen, Billed3)
    for event in (Billed1, Billed2):

        @module.on(event, id=f"shop.{event.__name__}")
        async def bill(event: Any) -> None:
            seen.append(event)

    events = await stage.idle(module)
    await publish(events, [Billed1(order="a", amount=5)])
    await events.drain_once()
    assert sorted(seen, key=lambda event: type(event).__name__) == [
        Billed1(order="a", amount=5),
        Billed2(order="a", cents=500),
        Billed3(order="a", cents=500, currency="EUR"),
    ]
    assert await stage.deliveries() == []


async def test_numbers_that_a_float_cannot_hold_stay_exact_on_their_way_up(stage: Stage) -> None:
    from decimal import Decimal

    class Priced(Event, name="shop.order.billed", version=2):
        price: Decimal

    module, seen = Module("shop"), []
    module.upcast(Priced, from_version=1)(dict)

    @module.on(Priced)
    async def handle(event: Priced) -> None:
        seen.append(event.price)

    events = await stage.idle(module)
    await stage.rows(INSERT, 1, None, '{"price": 12345678901234567.89}')
    await events.drain_once()
    assert seen == [Decimal("12345678901234567.89")]


def raising(payload: dict[str, Any]) -> dict[str, Any]:
    raise LookupError("no rate for 1999")


def returning_a_list(payload: dict[str, Any]) -> Any:
    return [payload]


def returning_nothing_storable(payload: dict[str, Any]) -> dict[str, Any]:
    return {"order": object()}


def returning_too_little(payload: dict[str, Any]) -> dict[str, Any]:
    return {"order": "a"}


BROKEN = {
    raising: ("the upcaster raising (", ") from version 1 of shop.order.billed raised LookupError: no rate for 1999"),
    returning_a_list: ("the upcaster returning_a_list (", "returned a list in place of a dict"),
    returning_nothing_storable: ("the upcaster returning_nothing_storable (", "what cannot be written as JSON"),
    returning_too_little: ("Billed2: cents: Field required",),
}


@pytest.mark.parametrize("step", BROKEN)
async def test_an_upcaster_that_fails_costs_one_delivery_and_is_named(stage: Stage, step: Any) -> None:
    module, seen = Module("shop"), []
    module.upcast(Billed2, from_version=1)(step)

    @module.on(Billed2)
    async def handle(event: Billed2) -> None:
        seen.append(event.order)

    events = await stage.idle(module)
    await publish(events, [Billed1(order="bad", amount=-1), Billed2(order="good", cents=1)])
    await within(events.drain_once())
    assert seen == ["good"]
    [dead] = await stage.deliveries()
    assert (dead["state"], dead["reason"], dead["attempts"]) == ("dead", "invalid_payload", 1)
    assert [part for part in BROKEN[step] if part not in dead["error_message"]] == []
    assert json.loads(dead["event"])["payload"] == {"order": "bad", "amount": -1}


@pytest.mark.parametrize(
    ("payload", "told"),
    [("[1]", "takes a JSON object, and the stored payload is a list"), ("[" * 6000 + "]" * 6000, "")],
    ids=["list", "deep"],
)
async def test_a_payload_that_no_upcaster_can_take_is_dead(stage: Stage, payload: str, told: str) -> None:
    events = await stage.idle(release([], Billed2))
    await stage.rows(INSERT, 1, None, payload)
    await events.drain_once()
    [dead] = await stage.deliveries()
    assert (dead["state"], dead["reason"]) == ("dead", "invalid_payload" if told else "undecodable")
    assert told in dead["error_message"]


async def test_what_the_class_says_is_not_left_any_more_is_dead_and_says_why(stage: Stage) -> None:
    module = Module("shop")
    module.upcast(Lately, from_version=2)(dict)

    @module.on(Lately)
    async def handle(event: Lately) -> None: ...

    events = await stage.idle(module)
    await stage.rows(INSERT, 1, None, '{"order": "a"}')
    await events.drain_once()
    [dead] = await stage.deliveries()
    assert dead["reason"] == "invalid_payload"
    assert (
        "stored as version 1; version 3 of shop.order.billed says that nothing older than 2 is left"
        in (dead["error_message"])
    )


async def test_wildcards_get_the_stored_class_else_a_newer_one_else_the_raw_event(stage: Stage) -> None:
    module, seen, raw = Module("shop"), [], []
    module.upcast(Billed3, from_version=2)(with_currency)

    @module.on("shop.*")
    async def handle(event: Event | RawEvent) -> None:
        seen.append(event)

    @module.on("shop.*", id="shop.raw")
    async def keep(event: RawEvent) -> None:
        raw.append(event)

    events = await stage.idle(module)
    events.registry.learn(Billed3)
    await stage.rows(INSERT, 3, "a", '{"order": "a", "cents": 1, "currency": "SEK"}')
    await stage.rows(INSERT, 2, "a", '{"order": "a", "cents": 2}')
    await stage.rows(INSERT, 1, "a", '{"order": "a", "amount": 3}')
    await stage.rows(INSERT, 4, "a", '{"order": "a"}')
    await events.drain_once()
    assert seen == [
        Billed3(order="a", cents=1, currency="SEK"),
        Billed3(order="a", cents=2, currency="EUR"),
        RawEvent("shop.order.billed", 1, {"order": "a", "amount": 3}),
        RawEvent("shop.order.billed", 4, {"order": "a"}),
    ]
    assert [event.version for event in raw] == [3, 2, 1, 4]


async def test_an_event_of_the_next_release_waits_for_it_and_holds_its_key(stage: Stage) -> None:
    old_seen: list[Any] = []
    new_seen: list[Any] = []
    old = await stage.idle(release(old_seen, Billed1))
    await publish(old, [Billed2(order="a", cents=1), Billed1(order="a", amount=2), Billed1(order="b", amount=3)])
    await old.drain_once()
    await old.drain_once()
    assert [event.order for event in old_seen] == ["b"]
    waiting = await stage.deliveries()
    assert [(row["state"], row["reason"], row["attempts"]) for row in waiting] == [
        ("waiting", "no_handler", 0),
        ("waiting", "key_blocked", 0),
    ]
    new = await stage.idle(release(new_seen, Billed2))
    await new.drain_once()
    assert new_seen == [Billed2(order="a", cents=1), Billed2(order="a", cents=200)]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}
    await publish(old, [Billed1(order="a", amount=4)])
    await old.drain_once()
    assert [event.amount for event in old_seen] == [3, 4]


async def test_a_process_that_cannot_read_the_head_asks_once_and_leaves_the_key_to_others(stage: Stage) -> None:
    """A queue that the old release may work off up to the first event that it cannot read."""
    failing = [True]
    module, seen = Module("shop"), []

    @module.on(Billed1, id="shop.bill", retry=Retry(5))
    async def bill(event: Billed1) -> None:
        if failing[0]:
            raise ValueError("not yet")
        seen.append(event.amount)

    old = await stage.idle(module)
    await publish(old, [Billed1(order="a", amount=1), Billed1(order="a", amount=2), Billed2(order="a", cents=3)])
    await old.drain_once()
    failing[0] = False
    await stage.make_due()
    await old.drain_once()
    assert seen == [1, 2]
    [waiting] = await stage.deliveries("waiting")
    assert waiting["reason"] == "no_handler"
    token = "SELECT token FROM events.parked_key"
    before = await stage.value(token)
    await old.drain_once()
    assert await stage.value(token) == before, "it claimed what it cannot read"
    assert await stage.value("SELECT needs FROM events.parked_key") == 2
    new_seen: list[Any] = []
    new = await stage.idle(release(new_seen, Billed3))
    await new.drain_once()
    assert new_seen == [Billed3(order="a", cents=3, currency="EUR")]


async def test_a_retry_of_the_next_releases_event_comes_back_to_it(stage: Stage) -> None:
    """When its backoff is over the old release may be the first to look."""
    module, attempts = Module("shop"), []
    module.upcast(Billed2, from_version=1)(to_cents)

    @module.on(Billed2, id="shop.bill", retry=Retry(3))
    async def bill(event: Billed2, session: HandlerSession) -> None:
        attempts.append(event.cents)
        if len(attempts) == 1:
            raise ValueError("once")
        await effect(session, "new", event.cents)

    old, new = await stage.idle(release([], Billed1)), await stage.idle(module)
    await publish(new, [Billed2(order="a", cents=1)])
    await lanes_alone(new)
    assert attempts == [1]
    await stage.make_due()
    await old.drain_once()
    [waiting] = await stage.deliveries("waiting")
    assert (waiting["reason"], waiting["attempts"]) == ("no_handler", 1)
    await new.drain_once()
    assert attempts == [1, 1]
    [done] = await stage.deliveries()
    assert (done["state"], done["attempts"]) == ("done", 2)


async def lanes_alone(events: Any) -> None:
    """Drain without working off what was parked."""
    runtime = events.runtime
    runtime.make_drains()
    for lane in runtime.drain_loops:
        await lane.drain()


async def test_a_newer_process_is_woken_for_what_an_older_one_cannot_read(stage: Stage) -> None:
    seen: list[Any] = []
    old = await stage.running(release([], Billed1), **SLOW)
    new = await stage.running(release(seen, Billed2), lanes=("inbound",), **SLOW)  # it never claims the event itself
    await publish(old, [Billed2(order="a", cents=1)])
    await until(lambda: seen == [Billed2(order="a", cents=1)])
    assert new.runtime.counters.stale_settles == 0


async def test_it_is_woken_too_for_what_an_older_one_meets_in_a_queue(stage: Stage) -> None:
    failing, module = [True], Module("shop")
    old_seen: list[int] = []
    new_seen: list[Any] = []

    @module.on(Billed1, id="shop.bill", retry=Retry(9, fixed(600)))
    async def bill(event: Billed1) -> None:
        if failing[0]:
            raise ValueError("not yet")
        old_seen.append(event.amount)

    old = await stage.running(module, **SLOW)
    await publish(old, [Billed1(order="a", amount=1), Billed2(order="a", cents=2)])

    async def both_wait() -> bool:
        return [row["reason"] for row in await stage.deliveries("waiting")] == ["retry", "key_blocked"]

    await until(both_wait)
    await stage.running(release(new_seen, Billed2), lanes=("inbound",), **SLOW)
    failing[0] = False
    await stage.make_due()
    old.runtime.wake.parked()
    await until(lambda: new_seen == [Billed2(order="a", cents=2)])
    assert old_seen == [1]


async def test_a_key_says_at_once_which_version_its_head_needs(stage: Stage) -> None:
    old = await stage.idle(release([], Billed1))
    await publish(old, [Billed3(order="a", cents=1, currency="SEK"), Billed2(order="a", cents=1)])
    await lanes_alone(old)
    assert await stage.value("SELECT needs FROM events.parked_key") == 3


async def test_an_attempt_of_the_next_release_that_was_cut_off_is_still_known_to_have_begun(stage: Stage) -> None:
    """It had been detached when its process died; the old release looks at it first, and says nothing else of it."""
    old = await stage.idle(release([], Billed1))
    await publish(old, [Billed2(order="a", cents=1)])
    await old.drain_once()
    await stage.rows("UPDATE events.delivery SET reason = 'detached'")
    await stage.rows("UPDATE events.parked_key SET needs = 0")
    await old.drain_once()
    assert await stage.value("SELECT needs FROM events.parked_key") == 2
    module, seen = Module("shop"), []
    module.upcast(Billed2, from_version=1)(to_cents)

    @module.on(Billed2, id="shop.bill")
    async def bill(event: Billed2, delivery: Delivery) -> None:
        seen.append((event.cents, delivery.attempt, delivery.redelivered))

    new = await stage.idle(module)
    await new.drain_once()
    assert seen == [(1, 1, True)]


async def test_a_raw_handler_takes_what_needs_any_version(stage: Stage) -> None:
    old = await stage.idle(release([], Billed1))
    await publish(old, [Billed3(order="a", cents=1, currency="SEK")])
    await old.drain_once()
    module, seen = Module("shop"), []

    @module.on("shop.order.billed", id="shop.bill")
    async def keep(event: RawEvent) -> None:
        seen.append(event.version)

    raw = await stage.idle(module)
    await raw.drain_once()
    assert seen == [3]


async def test_a_redriven_event_behind_a_newer_head_is_taken_by_the_old_release(stage: Stage) -> None:
    """The head has changed: what the key needed for the one before says nothing of it."""
    broken = [True]
    module, seen = Module("shop"), []

    @module.on(Billed1, id="shop.bill", retry=Retry(1), on_dead="continue")
    async def bill(event: Billed1) -> None:
        if broken[0]:
            raise ValueError("broken")
        seen.append(event.amount)

    old = await stage.idle(module)
    await publish(old, [Billed1(order="a", amount=1), Billed2(order="a", cents=2)])
    await old.drain_once()
    assert [(row["state"], row["reason"]) for row in await stage.deliveries()] == [
        ("dead", "max_attempts"),
        ("waiting", "no_handler"),
    ]
    [dead] = await stage.deliveries("dead")
    broken[0] = False
    await old.operations.redrive([dead["id"]], actor="me")
    await old.drain_once()
    assert seen == [1]
    assert [row["state"] for row in await stage.deliveries()] == ["done", "waiting"]
