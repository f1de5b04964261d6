"""What ``publish`` may be told, what it answers, and what it refuses before any SQL."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.publisher import Published
from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.errors import (
    ContradictoryOptions,
    DuplicateEvent,
    InvalidEventName,
    InvalidPayload,
    PayloadTooLarge,
    PublishError,
    UnknownEvent,
    UnknownOption,
)
from fastapi_events.model.context import Flow, flowing
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.event import Event
from tests.publishing.shop import Log, Noted, Port, Sold

Sessions = async_sessionmaker[AsyncSession]


class Abstract(Event):
    number: int


class Open(Event, name="shop.open.noted", aggregate_id="key"):
    key: str | None = None
    anything: Any = None


class OwnKey(Event, name="shop.keyed.noted", aggregate_id="number", key="place"):
    number: int
    place: str


class Strict(Event, name="shop.strict.noted", aggregate_id="key", serialize=True):
    key: str | None = None


@pytest.fixture(params=["the driver", "SQLAlchemy"])
def written_by(request: pytest.FixtureRequest) -> str:
    """The driver's connection writes the rows if the transaction has begun by then."""
    return str(request.param)


async def published(
    port: Port, sessions: Sessions, log: Log, what: Event, by: str = "SQLAlchemy", **options: Any
) -> Any:
    """The row of an event that was published and committed."""
    async with sessions() as session:
        if by == "the driver":
            await session.execute(text("SELECT 1"))
        answer = await bind_async(port, session)(what, **options)
        await session.commit()
    [row] = await log.fetch("SELECT * FROM events.event WHERE id = $1", answer.event_id)
    return row


async def test_everything_said(port: Port, sessions: Sessions, log: Log, written_by: str) -> None:
    told = {
        "event_id": uuid4(),
        "occurred_at": datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC),
        "key": "k",
        "tenant_id": "acme",
        "correlation_id": uuid4(),
        "causation_id": uuid4(),
        "headers": {"source": "import", "ünïcode": "✓"},
    }
    for name, value in told.items():  # alone, too
        row = await published(port, sessions, log, Sold(item=7), by=written_by, **{name: value})
        if name not in ("event_id", "key", "headers"):
            assert row[name] == value
    told["event_id"] = uuid4()
    row = await published(port, sessions, log, Sold(item=7), by=written_by, **told)
    assert json.loads(row["headers"]) == told["headers"]
    for name in ("occurred_at", "tenant_id", "correlation_id", "causation_id"):
        assert row[name] == told[name]
    assert (row["id"], row["key"]) == (told["event_id"], "acme/item/k")
    assert (row["name"], row["version"], row["lane"], row["depth"]) == ("shop.item.sold", 1, 1, 0)
    assert (row["aggregate"], row["aggregate_id"]) == ("item", "7")
    assert json.loads(row["payload"]) == {"item": 7, "number": 0}


async def test_everything_inherited_or_derived(port: Port, sessions: Sessions, log: Log, written_by: str) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    correlation, causation = uuid4(), uuid4()
    with flowing(
        correlation_id=correlation, causation_id=causation, tenant_id="acme", actor="ann", traceparent=trace, depth=3
    ):
        row = await published(port, sessions, log, Sold(item=7), by=written_by)
        said = await published(
            port, sessions, log, Sold(item=7), by=written_by, tenant_id="other", correlation_id=causation
        )
    assert (row["correlation_id"], row["causation_id"]) == (correlation, causation)
    assert (row["tenant_id"], row["actor"], row["depth"], row["key"]) == ("acme", "ann", 3, "acme/item/7")
    assert json.loads(row["headers"]) == {"traceparent": trace}
    assert (said["tenant_id"], said["correlation_id"], said["key"]) == ("other", causation, "other/item/7")
    bare = await published(port, sessions, log, Noted(number=1), by=written_by)
    assert bare["correlation_id"] == bare["id"]
    assert {bare[name] for name in ("causation_id", "tenant_id", "actor", "headers", "key")} == {None}
    assert Flow() == Flow(None, None, None, None, None, 0)


async def test_the_key(port: Port, sessions: Sessions, log: Log) -> None:
    assert (await published(port, sessions, log, OwnKey(number=1, place="here")))["key"] == "/keyed/here"
    assert (await published(port, sessions, log, OwnKey(number=1, place="here"), key="there"))["key"] == "/keyed/there"
    assert (await published(port, sessions, log, Open()))["key"] is None
    same = [await published(port, sessions, log, Sold(item=5)) for _ in range(2)]
    assert same[0]["partition"] == same[1]["partition"]


async def test_many(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        assert await publish.many([]) == []
        answers = await publish.many((Noted(number=number) for number in range(3)), tenant_id="acme")
        await session.commit()
    assert [answer.event_id for answer in answers] == await log.ids()
    assert answers == [Published(answer.event_id, duplicate=False) for answer in answers]
    assert {row["tenant_id"] for row in await log.rows()} == {"acme"}


async def test_many_or_none(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        with pytest.raises(InvalidPayload):
            await publish.many([Noted(number=1), Open(anything="\x00")])
        await publish(Noted(number=2))
        await session.commit()
    assert await log.numbers() == [2]


async def test_raw(port: Port, sessions: Sessions, log: Log) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        key = uuid4()
        first = await publish.raw("billing:invoice.paid", {"number": 1}, event_id=key)
        again = await publish.raw("billing:invoice.paid", {"number": 1}, event_id=key)
        await publish.raw(
            "billing.invoice.sent", [1, None], version=3, direction="outbound", aggregate="bill", aggregate_id="b-1"
        )
        await session.commit()
    paid, sent = await log.rows()
    assert (first, again) == (Published(key, duplicate=False), Published(key, duplicate=True))
    assert (paid["name"], paid["aggregate"], paid["lane"], paid["key"]) == ("billing.invoice.paid", "invoice", 1, None)
    assert (sent["version"], sent["lane"], sent["aggregate"], sent["key"]) == (3, 2, "bill", "/bill/b-1")
    assert json.loads(sent["payload"]) == [1, None]


def test_plain_calls(port: Port, sync_sessions: sessionmaker[Session]) -> None:
    with sync_sessions() as session:
        publish = bind_sync(port, session)
        answers = [
            publish(Noted(number=1)),
            *publish.many([Noted(number=2)]),
            publish.raw("a.b.c", 3, headers={"a": "b"}),
        ]
        session.commit()
        stored = session.connection().exec_driver_sql("SELECT id FROM events.event ORDER BY position").scalars().all()
    assert [answer.event_id for answer in answers] == [UUID(str(value)) for value in stored]


HOSTILE: list[tuple[Any, str, str]] = [
    (Open(anything={"deep": ["fine", "nul\x00"]}), "$.anything.deep[1]", r"NUL character \(U\+0000\)"),
    (Open(anything={"a\x00b": 1}), "$.anything", "NUL"),
    (Open(anything="\ud800"), "$.anything", "lone surrogate"),
    (Open(anything=[1.0, float("nan")]), "$.anything[1]", "is nan, which JSON does not have"),
    (Open(anything=float("-inf")), "$.anything", "is -inf"),
    (Open(anything=10**5000), "$.anything", "cannot be read back"),
    (Open(key="k\x00"), "", "NUL"),
    (Open(key="x" * 501), "$.key", "501 characters; 500 are the most"),
    (Noted.model_construct(number="one"), "$.number", "valid integer"),
    (Noted.model_construct(), "$.number", "Field required"),
]


@pytest.mark.parametrize(("what", "path", "says"), HOSTILE)
async def test_hostile_payloads_leave_the_transaction_alone(
    port: Port, engine: AsyncEngine, log: Log, what: Event, path: str, says: str
) -> None:
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    async with AsyncSession(engine) as session:
        publish = bind_async(port, session)
        with pytest.raises(InvalidPayload, match=says) as caught:
            await publish(what)
        with pytest.raises(InvalidPayload):
            await publish(what, event_id=uuid4())
        assert statements == []
        await publish(Noted(number=1))
        await session.commit()
    assert type(what).__qualname__ in str(caught.value)
    if path:
        assert caught.value.path.startswith(path)
        assert path.rsplit(".", 1)[-1] in str(caught.value)
    assert await log.numbers() == [1]


async def test_hostile_raw_payloads(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        for payload, says in (
            ({"a": "\x00"}, r"\$\.a holds a NUL"),
            ({"a": {1, 2}}, "cannot be written"),
            (uuid4(), "JSON"),
        ):
            with pytest.raises(InvalidPayload, match=says):
                await publish.raw("a.b.c", payload)
        with pytest.raises(InvalidEventName, match="raw event 'Nonsense'"):
            await publish.raw("Nonsense", {})
        with pytest.raises(ContradictoryOptions, match="version=0"):
            await publish.raw("a.b.c", {}, version=0)


async def test_payloads_have_a_size(port: Port, sessions: Sessions, log: Log) -> None:
    port.rules = PublishRules(max_payload_size=100)
    async with sessions() as session:
        publish = bind_async(port, session)
        with pytest.raises(
            PayloadTooLarge, match=r"Open: the payload has \d+ bytes; max_payload_size is 100.*reference"
        ):
            await publish(Open(anything="x" * 100))
        with pytest.raises(PayloadTooLarge, match="max_payload_size is 100"):
            await publish.raw("a.b.c", "x" * 100)


async def test_validation_can_be_left_out(port: Port, sessions: Sessions, log: Log) -> None:
    port.rules = PublishRules(validate_payloads=False)
    async with sessions() as session:
        await bind_async(port, session)(Noted.model_construct(number="one"))
        await session.commit()
    assert len(await log.rows()) == 1


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"event_id": "evt_1"}, InvalidPayload, r"event_id='evt_1' is not a UUID. Use deterministic_id"),
    ({"correlation_id": 3}, InvalidPayload, "correlation_id=3 is not a UUID"),
    ({"causation_id": "x"}, InvalidPayload, "causation_id='x' is not a UUID"),
    ({"occurred_at": datetime(2020, 1, 1)}, InvalidPayload, "has no time zone. Pass an aware datetime"),  # noqa: DTZ001
    ({"occurred_at": "yesterday"}, InvalidPayload, "'yesterday' has no time zone"),
    ({"key": 5}, InvalidPayload, r"key=5 is not a string. Pass str\(...\)"),
    ({"key": "k" * 501}, InvalidPayload, "key has 501 characters"),
    ({"tenant_id": "a\x00"}, InvalidPayload, "tenant_id"),
    ({"headers": {"a": 1}}, InvalidPayload, "headers: 'a' is no text"),
    ({"headers": {"a": "\x00"}}, InvalidPayload, r"headers: \$\.a holds a NUL"),
    ({"evnt_id": uuid4()}, UnknownOption, "no option 'evnt_id'. Did you mean 'event_id'"),
    ({"colour": "red"}, UnknownOption, "The options are event_id, occurred_at, delay, at, key"),
]


@pytest.mark.parametrize(("options", "kind", "says"), BAD_OPTIONS)
async def test_bad_options(
    port: Port, sessions: Sessions, options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    async with sessions() as session:
        publish = bind_async(port, session)
        with pytest.raises(kind, match=says):
            await publish(Sold(item=1), **options)
        assert not session.in_transaction()


async def test_hostile_flow(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        with flowing(actor="a\x00"), pytest.raises(InvalidPayload, match="actor"):
            await bind_async(port, session)(Noted(number=1))


async def test_what_is_no_event(port: Port, sessions: Sessions) -> None:
    async with sessions() as session:
        publish: Any = bind_async(port, session)
        with pytest.raises(PublishError, match=r"not the class Noted.*publish\.raw"):
            await publish(Noted)
        with pytest.raises(PublishError, match="not a dict"):
            await publish({"number": 1})
        with pytest.raises(UnknownEvent, match="Abstract has no name="):
            await publish(Abstract(number=1))
        with pytest.raises(ContradictoryOptions, match="serialize=True, but this event has no ordering key"):
            await publish(Strict())


async def test_two_classes_of_one_name(port: Port, sessions: Sessions) -> None:
    class Twin(Event, name="shop.item.noted"):
        number: int

    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        with pytest.raises(DuplicateEvent, match=r"shop\.Noted and .*Twin both declare the event 'shop.item.noted'"):
            await publish(Twin(number=1))
        await session.rollback()


async def test_what_nothing_can_be_published_on(port: Port, sessions: Sessions, sync_sessions: Any) -> None:
    wrong: Any
    for wrong, says in (
        (object(), "not on a object"),
        (AsyncSession, "not on the class AsyncSession"),
        (None, "NoneType"),
    ):
        with pytest.raises(PublishError, match=says):
            bind_async(port, wrong)
    async with sessions() as session:
        wrong = session
        with pytest.raises(PublishError, match=r"not a AsyncSession.*sync_session in a hook"):
            bind_sync(port, wrong)


async def test_a_plain_session_on_the_event_loop(port: Port, sync_sessions: sessionmaker[Session], log: Log) -> None:
    with sync_sessions() as session:
        await bind_async(port, session)(Noted(number=1))
        session.commit()
    assert await log.numbers() == [1]


async def test_two_instances_in_one_transaction(port: Port, sessions: Sessions, log: Log) -> None:
    other = Port()
    async with sessions() as session:
        await bind_async(port, session)(Noted(number=1))
        with pytest.raises(PublishError, match="One application has one Events"):
            bind_async(other, session)
        await session.commit()
        await bind_async(other, session)(Noted(number=2))
        await session.commit()
    assert (len(port.woken), len(other.woken)) == (1, 1)


async def test_derived_ids(port: Port, sessions: Sessions, log: Log) -> None:
    """A handler's events have ids that follow from the delivery; they are buffered like any other."""
    ids = [uuid4(), uuid4()]
    upcoming = iter(ids)
    async with sessions() as session:
        publish = bind_async(port, session, derive_id=lambda: next(upcoming))
        await publish(Noted(number=1))
        assert (await publish(Noted(number=3), event_id=KEY)).event_id == KEY
        await publish(Noted(number=2))
        await session.commit()
    assert await log.ids() == [ids[0], KEY, ids[1]]
    assert len(await log.fetch("SELECT 1 FROM events.event_key")) == 1


KEY = UUID("11111111-2222-5333-8444-555555555555")
