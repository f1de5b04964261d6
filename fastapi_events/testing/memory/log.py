"""The event log and the schedule in memory, in the transactions of whatever database publishers are bound to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import Connection, literal, select

from fastapi_events.api.publishing.caller import Site
from fastapi_events.errors import NotInTransaction
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.run_start import Sealed, apart, merged
from fastapi_events.store.log import DatabaseIdentity, EventLog
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.held_back import held_elsewhere, held_on, hold, lock, settle
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.starting import start_runs
from fastapi_events.testing.memory.refusing import refuse

Row = dict[str, Any]
"""An event of the log, by the columns that the drain of PostgreSQL reads."""


@dataclass(frozen=True, slots=True)
class Written:
    """An event that a transaction has written; ``due_at`` if it was scheduled."""

    envelope: Envelope
    at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A scheduled event that a transaction has taken back."""

    event_id: UUID


class MemoryLog(EventLog):
    """An ``EventLog`` without a database: what is appended becomes true with the commit, in the order of commits.

    Positions are drawn at the commit, so that no transaction is seen late. A second publish of an ``event_id`` that an
    open transaction has published waits in PostgreSQL; here it is refused, for nobody could end that transaction.
    """

    in_memory = True

    def __init__(self, clock: Clock, runs: KeptRuns, changed: Callable[[], None]) -> None:
        self._clock, self._runs, self._changed = clock, runs, changed
        self.events: list[Row] = []
        self.waiting: dict[UUID, Written] = {}
        """The schedule, in publishing order."""
        self._given: set[UUID] = set()

    def append_through(self, connection: Connection, sealed: Sequence[Sealed]) -> list[bool]:
        envelopes, starts = apart(sealed)
        _check_transaction(connection)
        settle()
        existing = start_runs(self._runs, starts, connection) if starts else []
        duplicates: list[bool] = []
        for envelope in envelopes:
            duplicate = envelope.explicit_id and self._is_taken(connection, envelope)
            duplicates.append(duplicate)
            if not duplicate:
                hold(connection, self, [self._written(envelope)])
        return merged(sealed, duplicates, existing)

    def append_now(self, sealed: Sequence[Sealed]) -> list[bool]:
        """Append in a transaction of their own."""
        envelopes, starts = apart(sealed)
        with lock:
            settle()
            existing = start_runs(self._runs, starts) if starts else []
            duplicates: list[bool] = []
            for envelope in envelopes:
                duplicate = envelope.explicit_id and self._is_taken(None, envelope)
                duplicates.append(duplicate)
                if not duplicate:
                    self._keep(self._written(envelope))
        self._changed()
        return merged(sealed, duplicates, existing)

    def cancel_through(self, connection: Connection, event_id: UUID) -> bool:
        _check_transaction(connection)
        settle()
        own = held_on(connection, self)
        written = event_id in self.waiting or any(
            isinstance(one, Written) and one.due_at is not None and one.envelope.id == event_id for one in own
        )
        if not written or Cancelled(event_id) in own:
            return False
        if Cancelled(event_id) in held_elsewhere(connection, self):
            refuse(
                f"publish.cancel({event_id})",
                "another open transaction has cancelled this event, and PostgreSQL would wait for its end",
                "End that transaction first.",
            )
        hold(connection, self, [Cancelled(event_id)])
        return True

    def cancel_now(self, event_id: UUID) -> Row | None:
        """Take an event from the schedule in a transaction of its own; None if it is not there."""
        with lock:
            settle()
            if Cancelled(event_id) in held_elsewhere(None, self):
                return None
            written = self.waiting.pop(event_id, None)
        return None if written is None else row_of(written.envelope, 0, self._clock.now())

    def append_due(self) -> int:
        """Append what is due, in the order of its times and then of publishing; returns how many events."""
        with lock:
            settle()
            now, cancelled = self._clock.now(), set(self._cancelled_somewhere())
            due = [one for one in self.waiting.values() if (one.due_at or now) <= now]
            ready = [one for one in sorted(due, key=_due_of) if one.envelope.id not in cancelled]
            for one in ready:
                del self.waiting[one.envelope.id]
                self._append(one.envelope)
        return len(ready)

    def next_due(self) -> datetime | None:
        """When the next scheduled event is due; None if none waits."""
        with lock:
            return min((_due_of(one) for one in self.waiting.values()), default=None)

    def published(self, name: str | None, *, after: int) -> list[Row]:
        """The log above a position, and what waits for its time, in the order of publishing; ``name`` None: all."""
        settle()
        with lock:
            now, waiting = self._clock.now(), list(self.waiting.values())
        rows = [row | {"due_at": None} for row in self.events if row["position"] > after]
        rows += [row_of(one.envelope, 0, now) | {"position": None, "due_at": one.due_at} for one in waiting]
        return [row for row in rows if name in (None, row["name"])]

    def written_on(self, connection: Connection) -> list[Envelope]:
        """The events that the connection's open transaction has written to the log, in order."""
        return [one.envelope for one in held_on(connection, self) if isinstance(one, Written) and one.due_at is None]

    def keep(self, things: Sequence[Any]) -> None:
        for thing in things:
            if isinstance(thing, Cancelled):
                self.waiting.pop(thing.event_id, None)
            else:
                self._keep(thing)
        self._changed()

    def _keep(self, written: Written) -> None:
        if written.envelope.explicit_id:
            self._given.add(written.envelope.id)
        if written.due_at is None:
            self._append(written.envelope)
        else:
            self.waiting[written.envelope.id] = written

    def _append(self, envelope: Envelope) -> None:
        self.events.append(row_of(envelope, len(self.events) + 1, self._clock.now()))

    def _is_taken(self, connection: Connection | None, envelope: Envelope) -> bool:
        event_id = envelope.id
        if event_id in self._given:
            return True
        if connection is not None and _writes(held_on(connection, self), event_id):
            return True
        if _writes(held_elsewhere(connection, self), event_id):
            refuse(
                f"publish({envelope.name}, event_id={event_id})",
                "another open transaction has published this id, and PostgreSQL would wait for its end",
                "Commit or roll that transaction back first.",
            )
        return False

    def _written(self, envelope: Envelope) -> Written:
        now, due = self._clock.now(), envelope.due
        return Written(envelope, now, due if due is None or isinstance(due, datetime) else now + timedelta(seconds=due))

    def _cancelled_somewhere(self) -> Iterator[UUID]:
        return (one.event_id for one in held_elsewhere(None, self) if isinstance(one, Cancelled))

    async def append(self, connection: Any, envelopes: Sequence[Sealed]) -> list[bool]:  # noqa: ARG002
        _refuse_driver(connection)

    async def cancel(self, connection: Any, event_id: UUID) -> bool:  # noqa: ARG002 - as the log's
        _refuse_driver(connection)

    async def identify(self, connection: Any) -> DatabaseIdentity:
        _refuse_driver(connection)

    async def notify(self, connection: Any, channel: str, places: Collection[Any]) -> None:  # noqa: ARG002
        _refuse_driver(connection)


class Alone:
    """Takes what is published without a session, at once."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def put(self, envelopes: Sequence[Sealed], _site: Site, /) -> list[bool]:
        return self._log.append_now(envelopes)

    async def cancel(self, event_id: UUID, /) -> bool:
        return self._log.cancel_now(event_id) is not None


def row_of(envelope: Envelope, position: int, published_at: datetime) -> Row:
    """An event as the drain reads it."""
    return envelope._asdict() | {"position": position, "published_at": published_at, "xid": None, "parked": None}


def _due_of(written: Written) -> datetime:
    assert written.due_at is not None, "only what is scheduled waits"  # noqa: S101
    return written.due_at


def _writes(things: Sequence[Any] | Iterator[Any], event_id: UUID) -> bool:
    return any(isinstance(one, Written) and one.envelope.id == event_id and one.envelope.explicit_id for one in things)


def _check_transaction(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise NotInTransaction(
            "This connection is in AUTOCOMMIT mode, where an event cannot commit together with anything. Publish on a "
            "session or connection with another isolation level."
        )
    if connection.dialect.name == "postgresql":
        # A driver may answer COMMIT of a failed transaction with a silent ROLLBACK; the INSERT would have failed aloud.
        connection.execute(select(literal(1)))


def _refuse_driver(connection: object) -> NoReturn:
    refuse(
        f"publishing on a {type(connection).__qualname__}",
        "a driver's own connection tells nobody of its commits and rollbacks",
        "Publish on a session or a connection of SQLAlchemy's, or test it on PostgreSQL.",
    )
