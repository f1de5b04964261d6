"""Handlers that lay hands on their transaction: they fail, commit nothing, and nobody else is hurt."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.orm.exc import DetachedInstanceError

from fastapi_events import Events, HandlerConnection, HandlerSession, Module, Retry, SyncHandlerSession
from fastapi_events.engine.handler_transaction import within_pools
from fastapi_events.errors import HandlerSessionMisuse
from fastapi_events.store.database import sqlalchemy_url
from fastapi_events.store.savepoints import is_border
from tests.delivery.stage import Pinged, Placed, Stage, effect, publish
from tests.handlers.test_transactional import effects


class Base(DeclarativeBase):
    """The tables of these tests."""


class Effect(Base):
    """A row of ``effect``."""

    __tablename__ = "effect"

    handler: Mapped[str]
    number: Mapped[int]
    label: Mapped[str | None]
    written: Mapped[int] = mapped_column(primary_key=True)


MISUSES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "commit": lambda s: s.commit(),
    "rollback": lambda s: s.rollback(),
    "close": lambda s: s.close(),
    "aclose": lambda s: s.aclose(),
    "reset": lambda s: s.reset(),
    "invalidate": lambda s: s.invalidate(),
    "inner commit": lambda s: s.run_sync(lambda inner: inner.commit()),
    "inner rollback": lambda s: s.run_sync(lambda inner: inner.rollback()),
    "inner close": lambda s: s.run_sync(lambda inner: inner.close()),
    "inner reset": lambda s: s.run_sync(lambda inner: inner.reset()),
    "inner invalidate": lambda s: s.run_sync(lambda inner: inner.invalidate()),
    "SQL commit": lambda s: s.execute(text("COMMIT")),
    "SQL rollback": lambda s: s.execute(text(" -- now\nrollback work")),
}
"""What is refused where it is called."""


async def of_connection(session: Any, what: str) -> None:
    await getattr(await session.connection(), what)()


async def of_root(session: Any, what: str) -> None:
    await getattr(session.get_transaction(), what)()


async def of_driver(session: Any, command: str) -> None:
    raw = await (await session.connection()).get_raw_connection()
    await raw.driver_connection.execute(command)


BEHIND: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "connection commit": lambda s: of_connection(s, "commit"),
    "connection rollback": lambda s: of_connection(s, "rollback"),
    "connection close": lambda s: of_connection(s, "close"),
    "connection invalidate": lambda s: of_connection(s, "invalidate"),
    "root commit": lambda s: of_root(s, "commit"),
    "root rollback": lambda s: of_root(s, "rollback"),
    "driver commit": lambda s: of_driver(s, "COMMIT"),
    "driver rollback": lambda s: of_driver(s, "ROLLBACK"),
}
"""What goes past the session."""


@pytest.fixture(params=["kept", "plain"])
async def sessions(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Session makers of both ways in which a transaction is run."""
    engine = create_async_engine(sqlalchemy_url(stage.url))
    binds = {} if request.param == "kept" else {"binds": {Base: engine}}
    yield async_sessionmaker(engine, **binds)
    await engine.dispose()


@asynccontextmanager
async def stopped(events: Events) -> AsyncIterator[Events]:
    """An instance that stops before its engine is disposed of."""
    try:
        yield events
    finally:
        await events.stop()


@pytest.mark.parametrize("what", MISUSES)
async def test_a_refusal_leaves_the_transaction_as_it_was(stage: Stage, sessions: Any, what: str) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number)
        if event.number == 1:
            await MISUSES[what](session)
        with pytest.raises(HandlerSessionMisuse):
            await MISUSES[what](session)
        await effect(session, "handle", event.number + 10)

    async with stopped(await stage.idle(module, sessions=sessions)) as events:
        await publish(events, [Placed(order="a", number=1), Placed(order="b", number=2)])
        await events.drain_once()
        [dead] = await stage.deliveries()
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert "Return to commit, raise to roll back" in dead["error_message"]
    assert await effects(stage) == [2, 12]


@pytest.mark.parametrize("what", BEHIND)
@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "returns"])
async def test_a_transaction_ended_behind_the_library_fails_its_attempt_and_no_other(
    stage: Stage, sessions: Any, what: str, goes_on: bool
) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def bad(event: Placed, session: HandlerSession) -> None:
        await effect(session, "bad", -1)
        try:
            await BEHIND[what](session)
        except HandlerSessionMisuse:
            seen.append("refused")
        if goes_on:
            await effect(session, "bad", -2)

    @module.on(Pinged, retry=Retry(1))
    async def innocent(event: Pinged, session: HandlerSession) -> None:
        await effect(session, "innocent", event.number)

    async with stopped(await stage.idle(module, sessions=sessions, handler_connections=1)) as events:
        for number in range(3):
            await publish(events, [Placed(order=str(number), number=number)])
            await events.drain_once()
            await publish(events, [Pinged(number=number)])
            await events.drain_once()
        rows = await stage.deliveries()
    assert {row["handler"] for row in rows} == {"shop.bad"}
    if what != "connection invalidate":  # which is a lost connection
        # The mark is the truth: where the handler committed it itself, its effects count and the event is done.
        assert {row["state"] for row in rows} == {"done" if what == "driver commit" else "dead"}
        errors = {row["error_type"].rsplit(".", 1)[-1] for row in rows}
        # SQLAlchemy has errors of its own for who goes on after a refusal, or on a closed connection.
        assert errors <= {"HandlerSessionMisuse"} | (
            {"PendingRollbackError", "ResourceClosedError", "InvalidRequestError"} if goes_on else set()
        )
    committed = await effects(stage)
    assert [number for number in committed if number >= 0] == [0, 1, 2]
    assert -2 not in committed
    # What a handler commits on the driver itself cannot be stopped; all else is.
    assert (-1 in committed) == (what == "driver commit")


async def test_a_block_of_begin_may_not_commit(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        async with session.begin():
            await effect(session, "handle", 1)

    async with stopped(await stage.idle(module)) as events:
        await events.publish(Placed(order="a"))
        await events.drain_once()
        [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert await effects(stage) == []


async def test_a_flush_that_failed_and_was_swallowed_is_no_success(stage: Stage, sessions: Any) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", 1, "same")
        session.add(Effect(handler="handle", number=2, label="same"))
        with pytest.raises(IntegrityError):
            await session.flush()

    async with stopped(await stage.idle(module, sessions=sessions)) as events:
        await events.publish(Placed(order="a"))
        await events.drain_once()
        [dead] = await stage.deliveries("dead")
    assert dead["error_type"].rsplit(".", 1)[-1] == "TransactionAborted"
    assert await effects(stage) == []


async def test_what_is_left_behind_cannot_reach_the_next_delivery(stage: Stage, sessions: Any) -> None:
    module, told, left = Module("shop"), [], asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    @module.on(Placed)
    async def leave(event: Placed, session: HandlerSession) -> None:
        await effect(session, "leave", 0)
        row = (await session.scalars(text("SELECT 1"))).one()
        assert row == 1
        inner, connection = session.sync_session, await session.connection()

        async def later() -> None:
            await left.wait()
            for use in (
                lambda: effect(session, "late", -1),
                lambda: session.execute(text("INSERT INTO effect VALUES ('late', -2)")),
                lambda: session.run_sync(lambda _: inner.execute(text("INSERT INTO effect VALUES ('late', -3)"))),
                lambda: connection.execute(text("INSERT INTO effect VALUES ('late', -4)")),
                lambda: session.flush() if session.add(Effect(handler="late", number=-5)) is None else None,
            ):
                try:
                    await use()
                except Exception as error:  # noqa: BLE001 - that is what is asked for
                    told.append(type(error).__name__)

        tasks.append(asyncio.create_task(later()))

    @module.on(Pinged)
    async def next_one(event: Pinged, session: HandlerSession) -> None:
        await effect(session, "next", 1)
        left.set()
        await asyncio.gather(*tasks)
        await effect(session, "next", 2)

    async with stopped(await stage.idle(module, sessions=sessions, handler_connections=1)) as events:
        await publish(events, [Placed(order="a")])
        await events.drain_once()
        await publish(events, [Pinged()])
        await events.drain_once()
        assert await stage.deliveries() == []
    # Where the session was the connection's only owner, that is closed.
    closed = [name for name in told if name == "ResourceClosedError"]
    assert len(closed) <= 1
    assert [name for name in told if name not in closed] == ["HandlerSessionMisuse"] * (5 - len(closed))
    assert await effects(stage) == [0, 1, 2]


async def test_objects_that_outlive_their_delivery_load_nothing(stage: Stage, sessions: Any) -> None:
    module, kept = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        row = Effect(handler="handle", number=1)
        session.add(row)
        await session.flush()
        session.expire(row)
        kept.append(row)

    async with stopped(await stage.idle(module, sessions=sessions)) as events:
        await publish(events, [Placed(order="a")])
        await events.drain_once()
        with pytest.raises(DetachedInstanceError):
            _ = kept[0].number
    assert await effects(stage) == [1]


async def test_options_that_a_handler_sets_end_with_its_delivery(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        connection = await session.connection()
        seen.append(dict(connection.sync_connection.get_execution_options()).get("schema_translate_map"))
        await connection.execution_options(schema_translate_map={None: "other"})

    events = await stage.idle(module, handler_connections=1)
    for order in "ab":
        await publish(events, [Placed(order=order)])
        await events.drain_once()
    assert seen == [None, None]


async def test_another_isolation_level_is_refused(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})

    events = await stage.idle(module)
    await publish(events, [Placed(order="a")])
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert "isolation level" in dead["error_message"]


async def test_sessions_that_choose_their_database_keep_doing_so(stage: Stage) -> None:
    """Such a session would leave a connection that it is given: its effects would not commit with the mark."""
    engine, asked = create_async_engine(sqlalchemy_url(stage.url)), []

    class Routing(Session):
        def get_bind(self, *arguments: Any, **options: Any) -> Any:
            asked.append(1)
            return engine.sync_engine

    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, session: HandlerSession) -> None:
        assert isinstance(session.sync_session, Routing)
        await effect(session, "handle", event.number)
        if event.number == 1:
            raise ValueError("no")

    try:
        maker = async_sessionmaker(engine, sync_session_class=Routing)
        async with stopped(await stage.idle(module, sessions=maker)) as events:
            await publish(events, [Placed(order="a", number=1), Placed(order="b", number=2)])
            await events.drain_once()
    finally:
        await engine.dispose()
    assert asked
    assert await effects(stage) == [2]


@pytest.mark.parametrize("query", ["COMMIT", "BEGIN; SELECT 1", "/* so */ END", "ROLLBACK AND CHAIN", ";abort"])
async def test_a_handler_connection_sends_no_border(stage: Stage, query: str) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, connection: HandlerConnection) -> None:
        await connection.execute("INSERT INTO effect VALUES ('handle', 1)")
        await connection.execute(query)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a")])
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert await effects(stage) == []


def test_borders_are_told_from_what_looks_like_one() -> None:
    for query in (
        "commit",
        " END ;",
        "begin",
        "START TRANSACTION",
        "prepare transaction 'x'",
        "ROLLBACK",
        "rollback work",
    ):
        assert is_border(query), query
    for query in (
        "ROLLBACK TO SAVEPOINT a", "rollback work to a", "SAVEPOINT a", "RELEASE a", "PREPARE p AS SELECT 1",
        "SELECT 'commit'", "-- commit\nSELECT 1", "committed", "INSERT INTO t VALUES ('; commit')",
    ):  # fmt: skip
        assert not is_border(query), query


SYNC: dict[str, Callable[[Any], Any]] = {
    "reset": lambda s: s.reset(),
    "invalidate": lambda s: s.invalidate(),
    "close": lambda s: s.close(),
    "connection commit": lambda s: s.connection().commit(),
    "connection rollback": lambda s: s.connection().rollback(),
    "connection close": lambda s: s.connection().close(),
    "root commit": lambda s: s.get_transaction().commit(),
    "root rollback": lambda s: s.get_transaction().rollback(),
    "SQL commit": lambda s: s.execute(text("COMMIT")),
    "driver commit": lambda s: s.connection().connection.driver_connection.commit(),
}


@pytest.mark.parametrize("what", SYNC)
async def test_def_handlers_are_under_the_same_rules(stage: Stage, what: str) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    def handle(event: Placed, session: SyncHandlerSession) -> None:
        session.execute(text("INSERT INTO effect VALUES ('sync', :number)"), {"number": event.number})
        if event.number == 1:
            SYNC[what](session)

    engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
    try:
        async with stopped(await stage.idle(module, sync_sessions=sessionmaker(engine))) as events:
            await publish(events, [Placed(order="a", number=1), Placed(order="b", number=2)])
            await events.drain_once()
            [dead] = await stage.deliveries()
    finally:
        engine.dispose()
    assert dead["error_type"].endswith("HandlerSessionMisuse")
    assert await effects(stage) == ([1, 2] if what == "driver commit" else [2])


async def test_a_sync_session_that_outlives_its_handler_is_of_no_use(stage: Stage) -> None:
    module, left = Module("shop"), []

    @module.on(Placed)
    def handle(event: Placed, session: SyncHandlerSession) -> None:
        left.append(session)

    engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
    try:
        async with stopped(await stage.idle(module, sync_sessions=sessionmaker(engine))) as events:
            await publish(events, [Placed(order="a")])
            await events.drain_once()
            with pytest.raises(HandlerSessionMisuse, match="after its handler had returned"):
                left[0].execute(text("SELECT 1"))
    finally:
        engine.dispose()


async def test_a_small_pool_bounds_the_handlers_and_is_told_of(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    module, running, most = Module("shop"), [0], []

    @module.on(Pinged, retry=Retry(1))
    async def handle(event: Pinged, session: HandlerSession) -> None:
        running[0] += 1
        most.append(running[0])
        await effect(session, "handle", event.number)
        await session.execute(text("SELECT pg_sleep(0.1)"))  # twice as long as the pool has patience
        running[0] -= 1

    engine = create_async_engine(sqlalchemy_url(stage.url), pool_size=1, max_overflow=1, pool_timeout=0.05)
    try:
        with caplog.at_level(logging.WARNING, "fastapi_events"):
            events = await stage.idle(module, sessions=async_sessionmaker(engine), handler_connections=8)
        async with stopped(events):
            [warning] = [record.getMessage() for record in caplog.records if "pool_size" in record.getMessage()]
            assert "is 8" in warning
            assert "2 connections" in warning
            await publish(events, [Pinged(number=number) for number in range(6)])
            await events.drain_once()
            assert await stage.deliveries() == []
    finally:
        await engine.dispose()
    assert max(most) <= 2
    assert sorted(await effects(stage)) == list(range(6))


def test_pools_without_a_bound_set_no_limit() -> None:
    url = sqlalchemy_url("postgresql://localhost/shop")
    unbound = async_sessionmaker(create_async_engine(url, max_overflow=-1))
    small = async_sessionmaker(create_async_engine(url, pool_size=2, max_overflow=1))
    assert within_pools(10, None, unbound) == 10
    assert within_pools(10, small, unbound) == 3
    assert within_pools(2, small) == 2
