"""Appending to the event log, on whatever connection the caller's transaction lives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import sqlalchemy
from sqlalchemy import TextClause, text

from fastapi_events.model.envelope import Envelope
from fastapi_events.model.lane import LogPlace
from fastapi_events.store.channel import Hint
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

ROWS_AT_ONCE = 10
"""Events up to which one statement with a row for each is the fastest; above it, a pipeline of single rows is."""


class Connection(Protocol):
    """What appending needs of an asyncpg connection."""

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...

    async def execute(self, query: str, *args: Any) -> Any: ...

    async def executemany(self, command: str, args: Any) -> None: ...


class DatabaseIdentity(NamedTuple):
    """What tells one database from all others, copies on another cluster included."""

    system_identifier: int
    database: str


class EventLog:
    """The statements that append events, for asyncpg and for any driver of SQLAlchemy.

    Whoever appends is inside the transaction whose commit makes the events true; nothing here commits. Events get
    their positions in the order in which they are given.
    """

    def __init__(self, statements: Statements) -> None:
        self._rows = _Rows(statements["append_event"])
        self._plain_rows = _Rows(statements["append_plain_event"])
        self._keyed = statements["append_keyed_events"]
        self._lock = statements["lock_keys"]
        self._identify = statements["identify_database"]
        self._notify = statements["notify"]
        self._statements = statements

    async def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> list[bool]:
        """Append on an asyncpg connection; says of each event whether its id was there already (a duplicate)."""
        for envelope in envelopes:
            if envelope.explicit_id or envelope.serialize:
                return await self._append_runs(connection, envelopes)
        if envelopes:
            await self._append_fresh(connection, envelopes)
        return [False] * len(envelopes)

    def append_through(self, connection: sqlalchemy.Connection, envelopes: Sequence[Envelope]) -> list[bool]:
        """The same through SQLAlchemy, with any driver of PostgreSQL."""
        duplicates: list[bool] = []
        keys = _keys_to_lock(envelopes)
        if keys is not None:
            connection.execute(self._clauses.lock, {"rows": keys})
        for keyed, run in _runs(envelopes):
            if keyed:
                appended = connection.execute(self._clauses.keyed, {"rows": _rows_of(run)}).scalars()
                duplicates += _left_out(run, {UUID(str(event_id)) for event_id in appended})
            else:
                connection.execute(self._clauses.fresh, {"rows": _rows_of(run)})
                duplicates += [False] * len(run)
        return duplicates

    async def append_alone(self, database: Database, envelopes: Sequence[Envelope]) -> None:
        """Append in a transaction of its own on a bookkeeping connection, with whose others a crash may make off."""
        async with database.acquire() as connection, database.steered(connection):
            await connection.execute(self._statements["keep_durably"])
            await self.append(connection, envelopes)

    async def identify(self, connection: Connection) -> DatabaseIdentity:
        """The identity of the database that an asyncpg connection leads to."""
        [row] = await connection.fetch(self._identify)
        return DatabaseIdentity(row["system_identifier"], row["database"])

    def identify_through(self, connection: sqlalchemy.Connection) -> DatabaseIdentity:
        """The same through SQLAlchemy."""
        row = connection.execute(self._clauses.identify).one()
        return DatabaseIdentity(row.system_identifier, row.database)

    async def notify(self, connection: Connection, channel: str, places: Collection[LogPlace]) -> None:
        """Have the listeners told of these places by the commit of the transaction on an asyncpg connection."""
        await connection.execute(self._notify, channel, Hint(frozenset(places)).written())

    def notify_through(self, connection: sqlalchemy.Connection, channel: str, places: Collection[LogPlace]) -> None:
        """The same through SQLAlchemy."""
        connection.execute(self._clauses.notify, {"channel": channel, "hint": Hint(frozenset(places)).written()})

    async def _append_runs(self, connection: Connection, envelopes: Sequence[Envelope]) -> list[bool]:
        duplicates: list[bool] = []
        keys = _keys_to_lock(envelopes)
        if keys is not None:
            await connection.execute(self._lock, keys)
        for keyed, run in _runs(envelopes):
            if keyed:
                rows = await connection.fetch(self._keyed, _rows_of(run))
                duplicates += _left_out(run, {row["id"] for row in rows})
            else:
                await self._append_fresh(connection, run)
                duplicates += [False] * len(run)
        return duplicates

    async def _append_fresh(self, connection: Connection, run: Sequence[Envelope]) -> None:
        rows = self._plain_rows if all(map(_is_plain, run)) else self._rows
        if len(run) > ROWS_AT_ONCE:
            await connection.executemany(rows.statement(1), [rows.values(envelope) for envelope in run])
        else:
            await connection.execute(rows.statement(len(run)), *chain.from_iterable(map(rows.values, run)))

    @cached_property
    def _clauses(self) -> _Clauses:
        return _Clauses(
            fresh=_clause(self._statements["append_events"], "rows"),
            keyed=_clause(self._keyed, "rows"),
            lock=_clause(self._lock, "rows"),
            identify=_clause(self._identify),
            notify=_clause(self._notify, "channel", "hint"),
        )


class _Clauses(NamedTuple):
    """The statements as SQLAlchemy takes them."""

    fresh: TextClause
    keyed: TextClause
    lock: TextClause
    identify: TextClause
    notify: TextClause


def _clause(statement: str, *names: str) -> TextClause:
    """The statement with named parameters in place of ``$1``, ``$2`` …; no other colon begins one."""
    escaped = re.sub(r"\$(\d+)::text::(\w+)", r"CAST($\1 AS \2)", statement).replace(":", r"\:")
    return text(re.sub(r"\$(\d+)", lambda match: f":{names[int(match[1]) - 1]}", escaped))


class _Rows:
    """An INSERT of one event, and what it makes of an envelope: the fields that its columns are named after."""

    def __init__(self, statement: str) -> None:
        self._statements = {1: statement}
        columns, _, self._row = statement.partition("VALUES")
        names = re.findall(r"\w+", columns[columns.rindex("(") :])
        self._width = len(names)
        self.values: Callable[[Envelope], tuple[Any, ...]] = itemgetter(*map(Envelope._fields.index, names))

    def statement(self, times: int) -> str:
        """The INSERT of ``times`` events: each row has the parameters of the one before it, counted on."""
        known = self._statements.get(times)
        if known is None:
            further = [self._counted_on(number * self._width) for number in range(1, times)]
            known = self._statements[times] = ", ".join([self._statements[1], *further])
        return known

    def _counted_on(self, by: int) -> str:
        return re.sub(r"\$(\d+)", lambda match: f"${int(match[1]) + by}", self._row.strip())


def _is_plain(envelope: Envelope) -> bool:
    return (envelope.causation_id or envelope.tenant_id or envelope.actor or envelope.headers) is None


def _runs(envelopes: Sequence[Envelope]) -> Iterator[tuple[bool, list[Envelope]]]:
    """Consecutive events that one statement can take: those with given ids apart from those with fresh ones."""
    return ((keyed, list(run)) for keyed, run in groupby(envelopes, key=attrgetter("explicit_id")))


def _left_out(run: Sequence[Envelope], appended: set[UUID]) -> list[bool]:
    """Which events of the run were not appended; of two with one id, the second was not."""
    flags: list[bool] = []
    for envelope in run:
        flags.append(envelope.id not in appended)
        appended.discard(envelope.id)
    return flags


def _keys_to_lock(envelopes: Sequence[Envelope]) -> str | None:
    """A JSON array of the ordering keys whose writers are to be serialised, or None."""
    keys = [envelope.key for envelope in envelopes if envelope.serialize and envelope.key is not None]
    return json.dumps(keys) if keys else None


def _rows_of(envelopes: Sequence[Envelope]) -> str:
    """The JSON array that the other append statements take: the payloads' text goes in as it is."""
    first = {envelope.id: envelope for envelope in reversed(envelopes)}
    return f"[{','.join(_row(envelope) for envelope in envelopes if first[envelope.id] is envelope)}]"


def _row(envelope: Envelope) -> str:
    fields = {
        "lane": envelope.lane,
        "partition": envelope.partition,
        "name": envelope.name,
        "version": envelope.version,
        "depth": envelope.depth,
        "id": str(envelope.id),
        "correlation_id": str(envelope.correlation_id),
        "causation_id": str(envelope.causation_id) if envelope.causation_id else None,
        "occurred_at": envelope.occurred_at.isoformat(),
        "aggregate": envelope.aggregate,
        "aggregate_id": envelope.aggregate_id,
        "key": envelope.key,
        "tenant_id": envelope.tenant_id,
        "actor": envelope.actor,
    }
    head = json.dumps(fields, ensure_ascii=False)[:-1]
    return f'{head},"headers":{envelope.headers or "null"},"payload":{envelope.payload}}}'
