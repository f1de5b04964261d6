"""Processing marks in memory: they become true with the commit of the session that a handler was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from fastapi_events.engine.infrastructure import NoConnection
from fastapi_events.testing.memory.held_back import held_elsewhere, held_on, hold, settle

_PROBE = select(literal(1))


class Mark(NamedTuple):
    """A handler's number, and its key of an event that it is done with."""

    handler: int
    key: UUID


class MemoryMarks:
    """The marks of one instance; in place of those that PostgreSQL keeps. Nothing is replayed here."""

    def __init__(self) -> None:
        self._kept: set[Mark] = set()

    async def limit(self, connection: AsyncConnection, timeout: float) -> None:  # noqa: ARG002
        """Nobody waits for a frozen process here; but the driver begins its transaction now, which is watched."""
        await connection.execute(_PROBE)

    def limit_sync(self, session: Session, timeout: float) -> None:  # noqa: ARG002
        """As ``limit``, for a plain session."""
        session.connection().execute(_PROBE)

    async def take(
        self, connection: AsyncConnection, handler: int, key: UUID, position: int, replay: UUID | None  # noqa: ARG002
    ) -> bool:  # fmt: skip
        """Take the mark in the connection's transaction; False if an attempt before has had it."""
        inner = connection.sync_connection
        if inner is None:
            raise NoConnection("the connection was closed before the handler was called")
        return self._take(inner, Mark(handler, key))

    async def take_list(
        self, connection: AsyncConnection, handler: int, marks: Sequence[tuple[UUID, int]], replay: UUID | None
    ) -> set[UUID]:
        """As ``take``, for several keys with their positions: those that were taken."""
        return {key for key, position in marks if await self.take(connection, handler, key, position, replay)}

    def take_sync(
        self, session: Session, handler: int, key: UUID, position: int, replay: UUID | None  # noqa: ARG002
    ) -> bool:  # fmt: skip
        """As ``take``, in the transaction of a plain session."""
        return self._take(session.connection(), Mark(handler, key))

    async def probe(self, connection: AsyncConnection) -> None:
        """Raise the database's error if the connection's transaction has failed already."""
        await connection.execute(_PROBE)

    def probe_sync(self, session: Session) -> None:
        """As ``probe``, for a plain session."""
        session.connection().execute(_PROBE)

    async def find(
        self, wanted: Sequence[tuple[int, UUID]], replay: UUID | None = None  # noqa: ARG002
    ) -> set[tuple[int, UUID]]:  # fmt: skip
        """Those of the (handler, key) pairs that are marked already."""
        settle()
        return {pair for pair in wanted if pair in self._kept}

    async def is_buried(self, handler: int, key: UUID, replay: UUID | None = None) -> bool:  # noqa: ARG002
        """There is no other process here, that could have settled the event meanwhile."""
        return False

    def add(self, handler: int, key: UUID) -> None:
        """Mark an event that a handler without a session is done with."""
        self._kept.add(Mark(handler, key))

    def keep(self, things: Sequence[Any]) -> None:
        """Their transaction has been committed."""
        self._kept.update(things)

    def _take(self, connection: Connection, mark: Mark) -> bool:
        settle()
        if mark in self._kept or mark in held_on(connection, self):
            return False
        if mark in held_elsewhere(connection, self):
            raise NoConnection("an attempt that was given up has not ended its transaction yet")
        hold(connection, self, [mark])
        return True
