"""Who is told of events that were not committed: whoever forgot it, with the line, and nobody who knows it already."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import Events, EventsSettings
from fastapi_events.api.session_binding import bind_async, bind_sync, publish_detached
from fastapi_events.errors import NotStarted, WrongDatabase
from fastapi_events.store.log import DatabaseIdentity
from tests.publishing.shop import Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]
SyncSessions = sessionmaker[Session]
SOURCE = Path(__file__).read_text(encoding="utf-8").splitlines()


def place(mark: str) -> str:
    [line] = [number for number, text in enumerate(SOURCE, 1) if text.endswith(f"# {mark}")]
    return f"published at {__file__}:{line}"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_every_way_to_publish_names_the_users_line(
    sessions: Sessions, sync_sessions: SyncSessions, log: Log, caplog: pytest.LogCaptureFixture, clean_database: str
) -> None:
    events = Events(sessions=sessions, settings=EventsSettings(database_url=clean_database))
    port: Any = events.publishing

    async def helper(session: AsyncSession) -> None:
        await events.publish(Noted(number=1), session=session)  # a helper

    await events.start(drains=False)
    try:
        async with sessions() as session:
            await events.publish(Noted(number=1), session=session)  # the instance
        async with sessions() as session:
            await asyncio.create_task(helper(session))
        async with sessions() as session:
            await events.publisher(session)(Noted(number=1))  # a publisher
        async with sessions() as session:
            await events.publisher(session).many([Noted(number=1)])  # many
        async with sessions() as session:
            await events.publisher(session).raw("shop.item.noted", {})  # raw
        async with sessions() as session:
            await events.publish(Noted(number=1), session=session, event_id=uuid4())  # an id
        with sync_sessions() as plain:
            await events.publish(Noted(number=1), session=plain)  # a plain session
        with sync_sessions() as plain:
            bind_sync(port, plain)(Noted(number=1))  # sync
        with sync_sessions() as plain:
            bind_sync(port, plain).many([Noted(number=1)])  # sync many
        with sync_sessions() as plain:
            bind_sync(port, plain).raw("shop.item.noted", {})  # sync raw
        async with sessions() as session:
            await asyncio.create_task(events.publish(Noted(number=1), session=session))
    finally:
        await events.stop()
    marks = (
        "the instance", "a helper", "a publisher", "many", "raw", "an id", "a plain session", "sync", "sync many",
        "sync raw",
    )  # fmt: skip
    told = warnings(caplog)
    assert len(told) == len(marks) + 1
    for mark, message in zip(marks, told, strict=False):
        assert f"{place(mark)}. Call commit()" in message
    assert "published at an unknown place" in told[-1]


async def test_an_instance_that_is_not_started_refuses_and_says_no_more(
    sessions: Sessions, log: Log, caplog: pytest.LogCaptureFixture, clean_database: str
) -> None:
    events = Events(sessions=sessions, settings=EventsSettings(database_url=clean_database))
    for _ in range(2):
        with pytest.raises(NotStarted):
            await events.publish(Noted(number=1))
        async with sessions() as session:
            await events.publish(Noted(number=1), session=session)
            with pytest.raises(NotStarted):
                await session.commit()
        await events.start(drains=False)
        await events.stop()
    assert (warnings(caplog), events.publishing.counts) == ([], {})


async def test_a_refused_commit_is_not_a_forgotten_one(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    port.database = DatabaseIdentity(1, "elsewhere")
    with pytest.raises(WrongDatabase):
        await publish_detached(port, Noted(number=1), sessions)
    async with sessions() as session:
        publish = bind_async(port, session)
        await publish(Noted(number=2))
        with pytest.raises(WrongDatabase):
            await session.commit()
    assert (warnings(caplog), port.counted) == ([], {})


async def test_what_follows_a_refused_commit_may_be_forgotten(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    async with sessions() as session:

        def refuse(_: Session) -> None:
            raise RuntimeError

        event.listen(session.sync_session, "before_commit", refuse)
        publish = bind_async(port, session)
        await publish(Noted(number=1))
        with pytest.raises(RuntimeError):
            await session.commit()
        await publish(Noted(number=2))  # after the refusal
    [message] = warnings(caplog)
    assert place("after the refusal") in message
    assert port.counted == {"uncommitted_publish": 1}


class Trouble(Exception):
    """What keeps an endpoint from its commit."""


async def by_with(sessions: Sessions, publish: Callable[[AsyncSession], Any]) -> None:
    async with sessions() as session:
        await publish(session)


async def by_finally(sessions: Sessions, publish: Callable[[AsyncSession], Any]) -> None:
    session = sessions()
    try:
        await publish(session)
    finally:
        await session.close()


async def by_except(sessions: Sessions, publish: Callable[[AsyncSession], Any]) -> None:
    session = sessions()
    try:
        await publish(session)
    except Trouble:
        await session.close()
        raise
    await session.close()


async def by_generator(sessions: Sessions, publish: Callable[[AsyncSession], Any]) -> None:
    @contextlib.asynccontextmanager
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    async with contextlib.AsyncExitStack() as stack:
        await publish(await stack.enter_async_context(get_session()))


ENDS = [by_with, by_finally, by_except, by_generator]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("end", ENDS)
async def test_an_exception_that_closes_the_session_is_reason_enough(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture, end: Any, at_once: bool
) -> None:
    caplog.set_level(logging.DEBUG, "fastapi_events")

    async def fail(session: AsyncSession) -> None:
        await bind_async(port, session)(Noted(number=1), event_id=uuid4() if at_once else None)
        raise Trouble

    with pytest.raises(Trouble):
        await end(sessions, fail)
    assert (warnings(caplog), port.counted) == ([], {})
    [record] = [record for record in caplog.records if record.name == "fastapi_events"]
    assert "A session was closed by Trouble before" in record.getMessage()


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("end", ENDS)
async def test_an_older_exception_is_no_reason(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture, end: Any, at_once: bool
) -> None:
    """The whole session is in the ``except`` of something else, and its commit is forgotten."""

    async def forget(session: AsyncSession) -> None:
        await bind_async(port, session)(Noted(number=1), event_id=uuid4() if at_once else None)

    try:
        raise Trouble
    except Trouble:
        await end(sessions, forget)
    await end(sessions, forget)
    assert len(warnings(caplog)) == 2
    assert port.counted == {"uncommitted_publish": 2}


async def test_an_iteration_that_is_broken_off_is_no_reason(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    async def get_session() -> AsyncIterator[AsyncSession]:
        session = sessions()
        try:
            yield session
        finally:
            await session.close()

    async with contextlib.aclosing(get_session()) as iteration:  # type: ignore[type-var]
        async for session in iteration:
            await bind_async(port, session)(Noted(number=1))
            break
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("generator", [False, True])
def test_plain_sessions_know_it_too(
    port: Port, sync_sessions: SyncSessions, caplog: pytest.LogCaptureFixture, generator: bool
) -> None:
    @contextlib.contextmanager
    def get_session() -> Iterator[Session]:
        session = sync_sessions()
        try:
            yield session
        finally:
            session.close()

    def run(fail: bool) -> None:
        with get_session() if generator else sync_sessions() as session:
            bind_sync(port, session)(Noted(number=1))
            if fail:
                raise Trouble

    with pytest.raises(Trouble):
        run(fail=True)
    assert (warnings(caplog), port.counted) == ([], {})
    try:
        raise Trouble
    except Trouble:
        assert sys.exception() is not None
        run(fail=False)
    assert len(warnings(caplog)) == 1
