"""Processing marks: the proof, in the effects' own transaction, that a handler is done with an event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import TextClause, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from fastapi_events.model.replay import LIVE
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

    async def take(
        self, connection: AsyncConnection, handler: int, key: UUID, position: int, replay: UUID | None
    ) -> bool: ...

    async def take_list(
        self, connection: AsyncConnection, handler: int, marks: Sequence[tuple[UUID, int]], replay: UUID | None
    ) -> set[UUID]: ...

    def take_sync(self, session: Session, handler: int, key: UUID, position: int, replay: UUID | None) -> bool: ...

    async def probe(self, connection: AsyncConnection) -> None: ...

    def probe_sync(self, session: Session) -> None: ...

    async def find(self, wanted: Sequence[tuple[int, UUID]], replay: UUID | None = None) -> set[tuple[int, UUID]]: ...

    async def is_buried(self, handler: int, key: UUID, replay: UUID | None = None) -> bool: ...


class MarkStore:
    """Takes marks in handlers' transactions, and finds those that exist."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._find, self._find_tombstone = statements["find_marks"], statements["find_tombstone"]
        self._driver_take_list = statements["mark_list"]
        self._take, self._literal = _statements(statements["mark_processed"])
        self._take_replayed, self._literal_replayed = _statements(statements["mark_replayed"])
        self._probe = text("SELECT 1")
        self._limit = text(
            "SELECT set_config('lock_timeout', :lock_timeout, true), "
            "set_config('idle_in_transaction_session_timeout', :idle_in_transaction_session_timeout, true)"
        )
        self._take_list = _list_statement(statements["mark_list"])

    async def limit(self, connection: AsyncConnection, timeout: float) -> None:
        """Bound a handler's transaction by its time-out in seconds; see ``limits``."""
        await connection.execute(self._limit, limits(timeout))

    def limit_sync(self, session: Session, timeout: float) -> None:
        """As ``limit``, for a plain session."""
        session.connection().execute(self._limit, limits(timeout))

    async def take(
        self, connection: AsyncConnection, handler: int, key: UUID, position: int, replay: UUID | None
    ) -> bool:
        """Take the mark in the connection's transaction; False if another attempt has it, or had it first.

        Marks of a replay are its own.
        """
        return (await connection.execute(*self._taking(handler, key, position, replay))).first() is not None

    async def take_list(
        self, connection: AsyncConnection, handler: int, marks: Sequence[tuple[UUID, int]], replay: UUID | None
    ) -> set[UUID]:
        """As ``take``, for several keys with their positions: those that were taken."""
        keys, positions = [str(key) for key, _ in marks], [position for _, position in marks]
        parameters = {"handler": handler, "keys": keys, "positions": positions, "replay": replay or LIVE}
        return {UUID(str(row.key)) for row in await connection.execute(self._take_list, parameters)}

    async def driver_take_list(
        self, driver: Any, handler: int, marks: Sequence[tuple[UUID, int]], replay: UUID | None
    ) -> set[UUID]:
        """The same on asyncpg's own connection."""
        keys, positions = [key for key, _ in marks], [position for _, position in marks]
        rows = await driver.fetch(self._driver_take_list, handler, keys, positions, replay or LIVE)
        return {row["key"] for row in rows}

    def literal_take(self, handler: int, key: UUID, position: int, replay: UUID | None) -> str:
        """``take`` as text without parameters, to be sent together with BEGIN; only numbers and UUIDs go in."""
        mark = (int(handler), UUID(int=key.int), int(position))
        return self._literal % mark if replay is None else self._literal_replayed % (*mark, UUID(int=replay.int))

    def literal_begin(self, level: str, timeout: float) -> str:
        """What begins a handler's transaction of an isolation level, to be sent before ``literal_take``."""
        return _begin(level, timeout)

    async def probe(self, connection: AsyncConnection) -> None:
        """Raise the database's error if the connection's transaction has failed already."""
        await connection.execute(self._probe)

    def probe_sync(self, session: Session) -> None:
        """As ``probe``, for a plain session."""
        session.connection().execute(self._probe)

    def take_sync(self, session: Session, handler: int, key: UUID, position: int, replay: UUID | None) -> bool:
        """As ``take``, in the transaction of a plain session."""
        return session.connection().execute(*self._taking(handler, key, position, replay)).first() is not None

    def _taking(self, handler: int, key: UUID, position: int, replay: UUID | None) -> tuple[TextClause, dict[str, Any]]:
        parameters: dict[str, Any] = {"handler": handler, "key": key, "position": position}
        return (self._take, parameters) if replay is None else (self._take_replayed, parameters | {"replay": replay})

    async def find(self, wanted: Sequence[tuple[int, UUID]], replay: UUID | None = None) -> set[tuple[int, UUID]]:
        """Those of the (handler, key) pairs that are marked already: live, or in a replay."""
        if not wanted:
            return set()
        rows = await self._database.fetch(
            self._find, [handler for handler, _ in wanted], [key for _, key in wanted], replay or LIVE
        )
        return {(row["handler_id"], row["key"]) for row in rows}

    async def is_buried(self, handler: int, key: UUID, replay: UUID | None = None) -> bool:
        """Whether the mark says that the event is dead or discarded, so that nothing of it may be committed."""
        return bool(await self._database.fetch(self._find_tombstone, handler, key, replay or LIVE))


def _statements(query: str) -> tuple[TextClause, str]:
    """A statement that takes a mark, for SQLAlchemy, and as text to put literals in."""
    for number, name in enumerate(("handler", "key", "position", "replay"), 1):
        query = query.replace(f"${number}", f":{name}")
    insert = query[query.index("INSERT") : query.index("RETURNING")]
    literal = insert.replace(":handler", "%d").replace(":key", "'%s'").replace(":position", "%d")
    keys = [bindparam(name, type_=Uuid()) for name in ("key", "replay") if f":{name}" in insert]
    return text(query[query.index("INSERT") :]).bindparams(*keys), literal.replace(":replay", "'%s'")


def _list_statement(query: str) -> TextClause:
    """The statement that takes several marks, for SQLAlchemy."""
    query = query.replace("$1", ":handler").replace("::bigint[]", "").replace("::uuid[]", "")
    query = query.replace("$2", "CAST(:keys AS uuid[])").replace("$3", "CAST(:positions AS bigint[])")
    query = query.replace("$4", ":replay")
    return text(query[query.index("INSERT") :]).bindparams(bindparam("replay", type_=Uuid()))


@cache
def _begin(level: str, timeout: float) -> str:
    how = f" ISOLATION LEVEL {'READ COMMITTED' if level == 'AUTOCOMMIT' else level}"  # whatever the role's default is
    settings = "".join(f"SET LOCAL {name} = '{value}'; " for name, value in limits(timeout).items())
    return f"BEGIN{how}; {settings}"
