"""What is marked as secret is found nowhere but in the database, whatever a handler does with it: a canary tells."""

import itertools
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import BaseModel, SecretStr, field_serializer
from sqlalchemy import text

from fastapi_events import (
    Actor,
    DeadLetter,
    Discard,
    Event,
    Events,
    HandlerSession,
    JobContext,
    Module,
    Permission,
    Retry,
    Secret,
)  # fmt: skip
from fastapi_events.api.redaction import Redactor
from fastapi_events.errors import ContradictoryOptions, InvalidPayload
from fastapi_events.model.secrets import HIDDEN, secret_values
from tests.delivery.stage import Stage, until
from tests.tenancy.two_tenants import routes

CANARY = "sesame'4711"


class Person(BaseModel):
    name: str
    iban: Annotated[str, Secret]


class Paid(Event, name="pay.card.paid", aggregate_id="payment"):
    """Secret by mark, by type, by name, inside a model, in a list, and as a number."""

    payment: str
    how: str
    note: Annotated[str, Secret()] = CANARY
    number: SecretStr = SecretStr(CANARY)
    password: str = CANARY
    payer: Person = Person(name="Ada", iban=CANARY)
    others: tuple[Annotated[str, Secret], ...] = (CANARY,)
    pin_block: Annotated[int, Secret] = 47110815

    @field_serializer("number", when_used="json")
    def _kept(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Refund(BaseModel):
    """What a run is given, and what it returns."""

    how: str
    note: Annotated[str, Secret] = CANARY
    number: SecretStr = SecretStr(CANARY)
    payer: Person = Person(name="Ada", iban=CANARY)

    @field_serializer("number", when_used="json")
    def _kept(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Leaky(Exception):
    """An error that tells whatever it was given."""


def leaking() -> Module:
    module = Module("pay")

    @module.on(Paid, retry=Retry(max_attempts=2))
    async def settle(event: Paid) -> None:
        if event.how == "repr":
            raise Leaky(f"cannot settle {event!r} {event}")
        if event.how == "value":
            raise Leaky(f"{event.note} and {event.number.get_secret_value()!r}, {event.payer}, {event.pin_block}")
        if event.how == "cause":
            try:
                raise Leaky(event.payer.iban)
            except Leaky as error:
                raise RuntimeError("it did not work") from error
        if event.how == "discard":
            raise Discard(f"no use for {event.note}")
        if event.how == "dead":
            raise DeadLetter(f"never {event.others}")

    @module.on(Paid, retry=Retry(max_attempts=1))
    async def book(event: Paid, session: HandlerSession) -> None:
        connection = await session.connection()
        await connection.execute(text("SELECT :note::no_such_type"), {"note": event.note})

    @module.every(timedelta(days=1), input=Refund(how="well"))
    @module.job("pay.refund", retry=Retry(max_attempts=1))
    async def refund(job: JobContext[Refund]) -> Refund:
        given = job.input
        if given.how == "repr":
            raise Leaky(f"cannot refund {given!r} {given}")
        if given.how == "value":
            raise Leaky(f"{given.note} and {given.number.get_secret_value()!r}, {given.payer}")
        if given.how == "cause":
            try:
                raise Leaky(given.payer.iban)
            except Leaky as error:
                raise RuntimeError("it did not work") from error
        if given.how == "dead":
            raise DeadLetter(f"never {given.note}")

        async def pay() -> Person:
            return given.payer

        await job.step("pay", pay)
        return given

    return module


HOWS = ("repr", "value", "cause", "discard", "dead", "well")


@pytest_asyncio.fixture
async def events(stage: Stage, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Events]:
    caplog.set_level(logging.DEBUG)
    events = stage.make(leaking())
    events.authorize = lambda: Actor("ada", "", frozenset(Permission))
    await events.start(drains=False)
    for how in HOWS:
        await events.publish(Paid(payment=how, how=how), headers={"authorization": f"Bearer {CANARY}"})
        await events.jobs.start(events.registry.jobs["pay.refund"], Refund(how=how))

    async def tried() -> bool:
        await stage.make_due()
        await events.drain_once()
        return len(await stage.deliveries("waiting")) == 0 and not await stage.rows("SELECT FROM events.run_queue")

    await until(tried)
    await stage.rows("UPDATE events.run SET schedule_id = (SELECT id FROM events.schedule), scheduled_for = created_at")
    yield events


def without_canary(what: str, texts: dict[Any, str]) -> None:
    told = {key: text for key, text in texts.items() if "sesame" in text or "47110815" in text}
    assert told == {}, what


async def test_it_is_in_no_page_and_no_answer(events: Events, stage: Stage) -> None:
    app = FastAPI()
    app.include_router(events.router)
    app.state.fastapi_events = events
    rows = await stage.rows("SELECT id, correlation_id FROM events.event")
    deliveries = await stage.deliveries()
    runs = await stage.rows("SELECT id FROM events.run")
    [schedule] = await events.observe.schedules()
    replay = await events.operations.replays.start("pay.settle", actor="ada")
    answers: dict[Any, str] = {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        for method, path in routes(app):
            if method != "GET" or path.endswith("/confirm") or "/gates/" in path:
                continue
            for event, delivery, run in itertools.product(
                rows if "{event_id}" in path else rows[:1],
                deliveries if "{delivery_id}" in path else deliveries[:1],
                runs if "{run_id}" in path else runs[:1],
            ):
                filled = path.format(
                    event_id=event["id"],
                    delivery_id=delivery["id"],
                    replay_id=replay.id,
                    run_id=run["id"],
                    schedule_id=schedule.id,
                )
                for headers in ({}, {"hx-request": "true", "hx-target": "live"}):
                    answer = await client.get(filled, headers=headers)
                    assert answer.status_code == 200, filled
                    answers[(filled, *headers)] = answer.text
    assert len(answers) > 40
    without_canary("pages and answers", answers)
    assert any(HIDDEN in answer for answer in answers.values())
    assert any("Ada" in answer for answer in answers.values()), "what is no secret is shown"


async def test_it_is_in_no_stored_error_and_no_log(
    events: Events, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {
        **{("delivery", n): str(dict(row) | {"event": None}) for n, row in enumerate(await stage.deliveries())},
        **{("attempt", n): str(row) for n, row in enumerate(await stage.rows("SELECT * FROM events.attempt"))},
        **{("run attempt", n): str(row) for n, row in enumerate(await stage.rows("SELECT * FROM events.run_attempt"))},
        **{
            ("run end", n): str(dict(row) | {"result": None})
            for n, row in enumerate(await stage.rows("SELECT * FROM events.run_end"))
        },
    }
    assert len(kept) > 15
    without_canary("stored errors", kept)
    assert sum(HIDDEN in text for text in kept.values()) > 8
    lines = {n: caplog.handler.format(record) for n, record in enumerate(caplog.get_records("setup"))}
    assert sum("Leaky" in line for line in lines.values()) >= 2
    without_canary("logs", lines)


async def test_handlers_get_it(events: Events, stage: Stage) -> None:
    [payload] = [row["payload"] for row in await stage.rows("SELECT payload FROM events.event LIMIT 1")]
    assert payload.count("sesame") == 5


HIDDEN_PATHS = ("note", "number", "password", "payer.iban", "payer", "others.0", "others", "pin_block")


async def test_it_cannot_be_searched_for(events: Events) -> None:
    app = FastAPI()
    app.include_router(events.router)
    app.state.fastapi_events = events
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        searches = [f"{name}payload.{path}:x" for path in HIDDEN_PATHS for name in ("", "name:pay.card.paid ")]
        for where in searches:
            for place in ("/events/api/events", "/events/dashboard/events"):
                answer = await client.get(place, params={"filter": where})
                assert answer.status_code == 422, (where, place)
                assert "is a secret" in answer.text
        fine = await client.get("/events/api/events", params={"filter": "name:pay.card.paid payload.payer.name:Ada"})
        assert len(fine.json()["events"]) == len(HOWS)


async def test_a_refused_publish_does_not_tell_it(events: Events) -> None:
    with pytest.raises(InvalidPayload) as caught:
        await events.publish(Paid.model_construct(payment="x", how="x", pin_block="sesame 4711"))
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None, "Pydantic's own error quotes what it was given"


async def test_a_class_that_only_an_earlier_version_of_has_it(stage: Stage) -> None:
    class Older(Event, name="pay.person.met"):
        nick: Annotated[str, Secret]

    class Newer(Event, name="pay.person.met", version=2):
        nick: str

    events = stage.make()
    events.authorize = lambda: Actor("ada", "", frozenset(Permission))
    await events.start(drains=False)
    published = await events.publish(Newer(nick=CANARY))
    app = FastAPI()
    app.include_router(events.router)
    app.state.fastapi_events = events
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        answer = await client.get(f"/events/api/events/{published.event_id}")
    assert answer.json()["payload"] == {"nick": HIDDEN}, Older


def test_a_secret_is_no_key() -> None:
    for option in ("aggregate_id", "key"):
        with pytest.raises(ContradictoryOptions, match=f"{option}='card' is secret"):
            type("Bad", (Event,), {"__annotations__": {"card": SecretStr}}, name="pay.card.bad", **{option: "card"})


def test_short_values_are_left_alone() -> None:
    assert secret_values('{"password": "abc", "token": "abcd", "pin": 12345, "secret": true}', ()) == [
        "12345",
        "abcd",
    ]


class Node(BaseModel):
    """A model that holds itself, by way of another one."""

    mine: Annotated[str, Secret]
    by_name: "dict[str, Node] | None" = None
    either: "Person | Leaf | None" = None


class Leaf(BaseModel):
    yours: SecretStr
    back: Node | None = None


Node.model_rebuild()


class Grown(Event, name="pay.tree.grown"):
    root: Node


def test_secrets_are_found_however_models_hold_each_other() -> None:
    leaf = {"yours": "secret-4", "back": {"mine": "secret-5"}}
    root = {"mine": "secret-1", "by_name": {"a": {"mine": "secret-2", "by_name": {"b": {"mine": "secret-3"}}}}}
    payload = json.dumps({"root": root | {"either": leaf}})
    assert sorted(secret_values(payload, (Grown,))) == [f"secret-{number}" for number in range(1, 6)]
    shown = Redactor().payload("pay.tree.grown", payload)
    assert "secret-" not in str(shown.value)
    assert shown.hidden == 5
    assert "secret-" not in repr(Grown.model_validate_json(payload))
