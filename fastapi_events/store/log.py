"""Appending to the event log, or to the schedule, on whatever connection the caller's transaction lives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, Protocol, cast
from uuid import UUID

import sqlalchemy
from sqlalchemy import TextClause

from fastapi_events.model.envelope import Envelope
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.run_start import Sealed, apart, merged
from fastapi_events.model.schedule import Due
from fastapi_events.store.channel import Hint
from fastapi_events.store.clauses import clause
from fastapi_events.store.database import Database
from fastapi_events.store.starts import RunLog
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
    their positions in the order in which they are given; those that are to wait for their time are scheduled instead.
    """

    in_memory: ClassVar[bool] = False
    """Whether it is none in a database, but follows the transactions of any connection: the back end of tests."""

    def __init__(self, statements: Statements) -> None:
        self._rows = _Rows(statements["append_event"])
        self._plain_rows = _Rows(statements["append_plain_event"])
        self._versioned_rows = _Rows(statements["append_versioned_event"])
        self._returning = {"keyed": statements["append_keyed_events"], "scheduled": statements["schedule_events"]}
        self._run_log = RunLog(statements)
        self._lock = statements["lock_keys"]
        self._cancel = statements["cancel_scheduled_event"]
        self._identify = statements["identify_database"]
        self._notify = statements["notify"]
        self._statements = statements

    async def append(self, connection: Connection, envelopes: Sequence[Sealed]) -> list[bool]:
        """Append on an asyncpg connection; says of each event or run whether it was there already."""
        for envelope in envelopes:
            if envelope.explicit_id or envelope.serialize or envelope.due is not None:
                return await self._append_runs(connection, envelopes)
        if envelopes:
            await self._append_fresh(connection, cast("Sequence[Envelope]", envelopes))  # a run is always due
        return [False] * len(envelopes)

    def append_through(self, connection: sqlalchemy.Connection, sealed: Sequence[Sealed]) -> list[bool]:
        """The same through SQLAlchemy, with any driver of PostgreSQL."""
        envelopes, starts = apart(sealed)
        existing = self._run_log.start_through(connection, starts) if starts else ()
        duplicates: list[bool] = []
        keys = _keys_to_lock(envelopes)
        if keys is not None:
            connection.execute(self._clauses.lock, {"rows": keys})
        for kind, run in _runs(envelopes):
            if kind != "fresh":
                taken = connection.execute(self._clauses.returning[kind], {"rows": _rows_of(run)}).scalars()
                duplicates += _left_out(run, {UUID(str(event_id)) for event_id in taken})
            else:
                connection.execute(self._clauses.fresh, {"rows": _rows_of(run)})
                duplicates += [False] * len(run)
        return merged(sealed, duplicates, existing)

    async def cancel(self, connection: Connection, event_id: UUID) -> bool:
        """Take an event from the schedule, on an asyncpg connection; False if it is not there."""
        return bool(await connection.fetch(self._cancel, event_id))

    def cancel_through(self, connection: sqlalchemy.Connection, event_id: UUID) -> bool:
        """The same through SQLAlchemy."""
        return bool(connection.execute(self._clauses.cancel, {"id": str(event_id)}).all())

    async def append_alone(self, database: Database, envelopes: Sequence[Sealed]) -> None:
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

    async def _append_runs(self, connection: Connection, sealed: Sequence[Sealed]) -> list[bool]:
        envelopes, starts = apart(sealed)
        existing = await self._run_log.start(connection, starts) if starts else ()
        duplicates: list[bool] = []
        keys = _keys_to_lock(envelopes)
        if keys is not None:
            await connection.execute(self._lock, keys)
        for kind, run in _runs(envelopes):
            if kind != "fresh":
                rows = await connection.fetch(self._returning[kind], _rows_of(run))
                duplicates += _left_out(run, {row["id"] for row in rows})
            else:
                await self._append_fresh(connection, run)
                duplicates += [False] * len(run)
        return merged(sealed, duplicates, existing)

    async def _append_fresh(self, connection: Connection, run: Sequence[Envelope]) -> None:
        rows = self._plain_rows if all(map(_is_plain, run)) else self._rows_for(run)
        if len(run) > ROWS_AT_ONCE:
            await connection.executemany(rows.statement(1), [rows.values(envelope) for envelope in run])
        else:
            await connection.execute(rows.statement(len(run)), *chain.from_iterable(map(rows.values, run)))

    def _rows_for(self, run: Sequence[Envelope]) -> _Rows:
        return self._versioned_rows if any(envelope.other_versions for envelope in run) else self._rows

    @cached_property
    def _clauses(self) -> _Clauses:
        return _Clauses(
            fresh=clause(self._statements["append_events"], "rows"),
            returning={kind: clause(statement, "rows") for kind, statement in self._returning.items()},
            lock=clause(self._lock, "rows"),
            cancel=clause(self._cancel, "id"),
            identify=clause(self._identify),
            notify=clause(self._notify, "channel", "hint"),
        )


class _Clauses(NamedTuple):
    """The statements as SQLAlchemy takes them."""

    fresh: TextClause
    returning: dict[str, TextClause]
    lock: TextClause
    cancel: TextClause
    identify: TextClause
    notify: TextClause


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
    return (
        envelope.causation_id or envelope.tenant_id or envelope.actor or envelope.headers or envelope.other_versions
    ) is None


def _runs(envelopes: Sequence[Envelope]) -> Iterator[tuple[str, list[Envelope]]]:
    """Consecutive events that one statement can take: given ids, fresh ones and what is scheduled apart."""
    return ((kind, list(run)) for kind, run in groupby(envelopes, key=_kind))


def _kind(envelope: Envelope) -> str:
    if envelope.due is not None:
        return "scheduled"
    return "keyed" if envelope.explicit_id else "fresh"


def _left_out(run: Sequence[Envelope], appended: set[UUID]) -> list[bool]:
    """Which events of the run were not appended; of two with one id, the second was not."""
    flags: list[bool] = []
    for envelope in run:
        flags.append(envelope.id not in appended)
        appended.discard(envelope.id)
    return flags


def _keys_to_lock(envelopes: Sequence[Envelope]) -> str | None:
    """A JSON array of the ordering keys whose writers are to be serialised, or None. What is scheduled holds none."""
    keys = [e.key for e in envelopes if e.serialize and e.key is not None and e.due is None]
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
        **(_schedule(envelope, envelope.due) if envelope.due is not None else {}),
    }
    head = json.dumps(fields, ensure_ascii=False)[:-1]
    if envelope.other_versions is not None:
        head = f'{head},"other_versions":{envelope.other_versions}'
    return f'{head},"headers":{envelope.headers or "null"},"payload":{envelope.payload}}}'


def _schedule(envelope: Envelope, due: Due) -> dict[str, Any]:
    when = {"at": due.isoformat()} if isinstance(due, datetime) else {"delay": due}
    return {"explicit": envelope.explicit_id, "serialize": envelope.serialize, **when}
