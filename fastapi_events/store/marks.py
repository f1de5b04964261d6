"""Processing marks: the proof, in the effects' own transaction, that a handler is done with an event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

LONGEST_LOCK_WAIT = 5.0
IDLE_MARGIN = 5.0


def limits(timeout: float) -> dict[str, str]:
    """What bounds the transaction of a handler with this time-out, in seconds.

    A frozen process keeps the mark it has taken: whoever waits for it gives up before the handler's own time-out, which
    is the infrastructure's failure and no attempt, and the server ends the frozen transaction once no handler can
    still be at work in it.
    """
    lock = min(LONGEST_LOCK_WAIT, timeout / 2)
    idle = timeout + IDLE_MARGIN
    return {
        "lock_timeout": f"{max(int(lock * 1000), 1)}ms",
        "idle_in_transaction_session_timeout": f"{int(idle * 1000)}ms",
    }


class Marks(Protocol):
    """What an attempt needs of marks, whatever keeps them; ``MarkStore`` says what each call does."""

    async def limit(self, connection: AsyncConnection, timeout: float) -> None: ...

    def limit_sync(self, session: Session, timeout: float) -> None: ...

    async def take(self, connection: AsyncConnection, handler: int, key: UUID, position: int) -> bool: ...

    async def take_list(
        self, connection: AsyncConnection, handler: int, marks: Sequence[tuple[UUID, int]]
    ) -> set[UUID]: ...

    def take_sync(self, session: Session, handler: int, key: UUID, position: int) -> bool: ...

    async def probe(self, connection: AsyncConnection) -> None: ...

    def probe_sync(self, session: Session) -> None: ...

    async def find(self, wanted: Sequence[tuple[int, UUID]]) -> set[tuple[int, UUID]]: ...

    async def is_buried(self, handler: int, key: UUID) -> bool: ...


class MarkStore:
    """Takes marks in handlers' transactions, and finds those that exist."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._find, self._find_tombstone = statements["find_marks"], statements["find_tombstone"]
        self._driver_take_list = statements["mark_list"]
        self._driver_take = statements["mark_processed"]
        query = self._driver_take.replace("$1", ":handler").replace("$2", ":key").replace("$3", ":position")
        insert = query[query.index("INSERT") : query.index("RETURNING")]
        self._literal = insert.replace(":handler", "%d").replace(":key", "'%s'").replace(":position", "%d")
        self._probe = text("SELECT 1")
        self._limit = text(
            "SELECT set_config('lock_timeout', :lock_timeout, true), "
            "set_config('idle_in_transaction_session_timeout', :idle_in_transaction_session_timeout, true)"
        )
        of_list = statements["mark_list"].replace("$1", ":handler").replace("::bigint[]", "").replace("::uuid[]", "")
        of_list = of_list.replace("$2", "CAST(:keys AS uuid[])").replace("$3", "CAST(:positions AS bigint[])")
        self._take_list = text(of_list[of_list.index("INSERT") :])
        self._take = text(query[query.index("INSERT") :]).bindparams(bindparam("key", type_=Uuid()))

    async def limit(self, connection: AsyncConnection, timeout: float) -> None:
        """Bound a handler's transaction by its time-out in seconds; see ``limits``."""
        await connection.execute(self._limit, limits(timeout))

    def limit_sync(self, session: Session, timeout: float) -> None:
        """As ``limit``, for a plain session."""
        session.connection().execute(self._limit, limits(timeout))

    async def take(self, connection: AsyncConnection, handler: int, key: UUID, position: int) -> bool:
        """Take the mark in the connection's transaction; False if another attempt has it, or had it first."""
        parameters = {"handler": handler, "key": key, "position": position}
        return (await connection.execute(self._take, parameters)).first() is not None

    async def take_list(
        self, connection: AsyncConnection, handler: int, marks: Sequence[tuple[UUID, int]]
    ) -> set[UUID]:
        """As ``take``, for several keys with their positions: those that were taken."""
        keys, positions = [str(key) for key, _ in marks], [position for _, position in marks]
        parameters = {"handler": handler, "keys": keys, "positions": positions}
        return {UUID(str(row.key)) for row in await connection.execute(self._take_list, parameters)}

    async def driver_take_list(self, driver: Any, handler: int, marks: Sequence[tuple[UUID, int]]) -> set[UUID]:
        """The same on asyncpg's own connection."""
        keys, positions = [key for key, _ in marks], [position for _, position in marks]
        return {row["key"] for row in await driver.fetch(self._driver_take_list, handler, keys, positions)}

    def literal_take(self, handler: int, key: UUID, position: int) -> str:
        """``take`` as text without parameters, to be sent together with BEGIN; only numbers and a UUID go in."""
        return self._literal % (int(handler), UUID(int=key.int), int(position))

    def literal_begin(self, level: str, timeout: float) -> str:
        """What begins a handler's transaction of an isolation level, to be sent before ``literal_take``."""
        return _begin(level, timeout)

    async def probe(self, connection: AsyncConnection) -> None:
        """Raise the database's error if the connection's transaction has failed already."""
        await connection.execute(self._probe)

    def probe_sync(self, session: Session) -> None:
        """As ``probe``, for a plain session."""
        session.connection().execute(self._probe)

    def take_sync(self, session: Session, handler: int, key: UUID, position: int) -> bool:
        """As ``take``, in the transaction of a plain session."""
        parameters = {"handler": handler, "key": key, "position": position}
        return session.connection().execute(self._take, parameters).first() is not None

    async def find(self, wanted: Sequence[tuple[int, UUID]]) -> set[tuple[int, UUID]]:
        """Those of the (handler, key) pairs that are marked already."""
        if not wanted:
            return set()
        rows = await self._database.fetch(self._find, [handler for handler, _ in wanted], [key for _, key in wanted])
        return {(row["handler_id"], row["key"]) for row in rows}

    async def is_buried(self, handler: int, key: UUID) -> bool:
        """Whether the mark says that the event is dead or discarded, so that nothing of it may be committed."""
        return bool(await self._database.fetch(self._find_tombstone, handler, key))


@cache
def _begin(level: str, timeout: float) -> str:
    how = "" if level in ("READ COMMITTED", "AUTOCOMMIT") else f" ISOLATION LEVEL {level}"
    settings = "".join(f"SET LOCAL {name} = '{value}'; " for name, value in limits(timeout).items())
    return f"BEGIN{how}; {settings}"
