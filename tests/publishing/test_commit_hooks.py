"""Events published by the user's own hooks of the commit belong to that commit."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.session_binding import bind_async, bind_sync
from fastapi_events.errors import NotInTransaction
from tests.publishing.shop import Item, Log, Noted, Port, Sold

Sessions = async_sessionmaker[AsyncSession]
HOOKS = ["before_flush", "after_flush", "after_flush_postexec", "before_commit"]


def once(session: Session, name: str, action: Callable[[Session], Any]) -> None:
    """Call ``action`` the first time that the event happens."""
    done: list[None] = []

    def hook(own: Session, *_: Any) -> None:
        if not done:
            done.append(None)
            action(own)

    event.listen(session, name, hook)


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("bound", ["before", "in the hook"])
@pytest.mark.parametrize("published_before", [True, False])
async def test_published_by_a_hook_of_the_commit(
    port: Port, sessions: Sessions, log: Log, name: str, bound: str, published_before: bool
) -> None:
    async with sessions() as session:
        if bound == "before" or published_before:
            publish = bind_async(port, session)
            if published_before:
                await publish(Noted(number=1))
        once(session.sync_session, name, lambda own: bind_sync(port, own)(Noted(number=2)))
        session.add(Item(id=1))
        await session.commit()
    assert await log.numbers() == ([1, 2] if published_before else [2])
    assert (await log.items(), port.woken, port.counted) == ([1], [{1}], {})


@pytest.mark.parametrize("name", HOOKS)
def test_published_by_a_hook_of_a_plain_session(port: Port, sync_sessions: sessionmaker[Session], name: str) -> None:
    with sync_sessions() as session:
        once(session, name, lambda own: bind_sync(port, own)(Noted(number=2)))
        session.add(Item(id=1))
        session.commit()
    assert port.woken == [{1}]


@pytest.mark.parametrize("name", HOOKS)
async def test_published_by_a_hook_of_a_savepoint(port: Port, sessions: Sessions, log: Log, name: str) -> None:
    async with sessions() as session:
        session.add(Item(id=1))
        async with session.begin_nested():
            once(session.sync_session, name, lambda own: bind_sync(port, own)(Noted(number=1)))
            session.add(Item(id=2))
        savepoint = await session.begin_nested()
        once(session.sync_session, name, lambda own: bind_sync(port, own)(Noted(number=2)))
        session.add(Item(id=3))
        await session.flush()
        await savepoint.rollback()
        await session.commit()
    assert (await log.items(), port.counted) == ([1, 2], {})
    assert await log.numbers() == [1, *([2] if name == "before_commit" else [])]


async def test_rows_of_a_hook_are_flushed_before_its_event_gets_a_position(
    port: Port, sessions: Sessions, log: Log
) -> None:
    """The writer's row lock comes before the position: that is what makes position order commit order."""
    statements: list[str] = []

    def sell(own: Session) -> None:
        own.add(Item(id=2))
        bind_sync(port, own)(Sold(item=2, number=2))
        statements.append(str(own.new))

    async with sessions() as session:
        publish = bind_async(port, session)
        session.add(Item(id=1))
        await publish(Sold(item=1, number=1))
        once(session.sync_session, "before_commit", sell)
        await session.commit()
    assert statements == ["IdentitySet([])"]
    assert (await log.items(), await log.numbers()) == ([1, 2], [1, 2])


async def test_after_the_commit_is_too_late(port: Port, sessions: Sessions, log: Log) -> None:
    refused: list[Exception] = []

    def publish_too_late(own: Session) -> None:
        try:
            bind_sync(port, own)(Noted(number=2))
        except NotInTransaction as error:
            refused.append(error)

    async with sessions() as session:
        publish = bind_async(port, session)
        event.listen(session.sync_session, "after_commit", publish_too_late)
        await publish(Noted(number=1))
        await session.commit()
        await publish(Noted(number=3))
        await session.commit()
    assert await log.numbers() == [1, 3]
    assert "publish in a before_commit hook" in str(refused[0])


async def test_publishing_goes_on_after_a_commit_that_a_later_hook_refused(
    port: Port, sessions: Sessions, log: Log
) -> None:
    refusing = [True]

    def refuse(_: Session) -> None:
        if refusing and refusing.pop():
            raise RuntimeError

    async with sessions() as session:
        publish = bind_async(port, session)
        event.listen(session.sync_session, "before_commit", refuse)
        await publish(Noted(number=1))
        with pytest.raises(RuntimeError):
            await session.commit()
        savepoint = await session.begin_nested()
        await publish(Noted(number=2))
        await savepoint.rollback()
        session.add(Item(id=1))
        await publish(Noted(number=3))
        await session.commit()
    assert (await log.items(), await log.numbers()) == ([1], [1, 3])
