"""Every way to publish in a transaction of one's own, behind one shape."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from fastapi_events.api.session_binding import bind_async, bind_sync
from tests.publishing.shop import Port

Way = Callable[[], AbstractAsyncContextManager["Line"]]
WAYS = ("AsyncSession", "AsyncConnection", "asyncpg", "Session", "Connection")


class Line:
    """A transaction with its publisher; plain publishers are called as if they were awaited."""

    def __init__(self, publisher: Any, begin_nested: Callable[[], Any], commit: Callable[[], Awaitable[None]]) -> None:
        self._publisher, self._begin_nested, self.commit = publisher, begin_nested, commit

    async def publish(self, event: Any, **options: Any) -> Any:
        return await _awaited(self._publisher(event, **options))

    async def many(self, events: Any, **options: Any) -> Any:
        return await _awaited(self._publisher.many(events, **options))

    async def raw(self, name: str, payload: Any, **options: Any) -> Any:
        return await _awaited(self._publisher.raw(name, payload, **options))

    async def cancel(self, event_id: Any) -> bool:
        return bool(await _awaited(self._publisher.cancel(event_id)))

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A savepoint that is rolled back by an exception."""
        made = self._begin_nested()
        if hasattr(made, "__aenter__"):
            async with made:
                yield
        else:
            with made:
                yield


async def _awaited(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value


class Ways:
    """Opens transactions; whatever is not committed is rolled back at the end."""

    def __init__(self, port: Port, engine: AsyncEngine, sync_engine: Engine, connection: Any) -> None:
        self._port, self._engine, self._sync_engine, self._connection = port, engine, sync_engine, connection

    def __getitem__(self, name: str) -> Way:
        return {
            "AsyncSession": self._async_session, "AsyncConnection": self._async_connection, "asyncpg": self._asyncpg,
            "Session": self._session, "Connection": self._plain_connection,
        }[name]  # fmt: skip

    @contextlib.asynccontextmanager
    async def _async_session(self) -> AsyncIterator[Line]:
        sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self._engine)
        async with sessions() as session:
            yield Line(bind_async(self._port, session), session.begin_nested, session.commit)
            await session.rollback()

    @contextlib.asynccontextmanager
    async def _async_connection(self) -> AsyncIterator[Line]:
        async with self._engine.connect() as connection:
            yield Line(bind_async(self._port, connection), connection.begin_nested, connection.commit)

    @contextlib.asynccontextmanager
    async def _asyncpg(self) -> AsyncIterator[Line]:
        transaction = self._connection.transaction()
        await transaction.start()
        over = False

        async def commit() -> None:
            nonlocal over
            over = True
            await transaction.commit()

        yield Line(bind_async(self._port, self._connection), self._connection.transaction, commit)
        if not over:
            await transaction.rollback()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Line]:
        with sessionmaker(self._sync_engine)() as session:
            yield Line(bind_sync(self._port, session), session.begin_nested, _later(session))
            session.rollback()

    @contextlib.asynccontextmanager
    async def _plain_connection(self) -> AsyncIterator[Line]:
        with self._sync_engine.connect() as connection:
            yield Line(bind_sync(self._port, connection), connection.begin_nested, _later(connection))


def _later(target: Any) -> Callable[[], Awaitable[None]]:
    async def commit() -> None:
        target.commit()

    return commit
