"""What one session has published and not yet committed, and how it gets into the session's transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, table, update
from sqlalchemy.exc import InvalidRequestError, UnboundExecutionError
from sqlalchemy.orm import Session, SessionTransaction

from fastapi_events.api.publishing.append import append_on
from fastapi_events.api.publishing.buffer import Entry, EventBuffer
from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.cancel import cancel_on
from fastapi_events.api.publishing.changes import Change
from fastapi_events.api.publishing.closing import TaskReference, closing_exception, no_task
from fastapi_events.api.publishing.losing import lost_text
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.api.publishing.wake_after import wake_after
from fastapi_events.errors import NotInTransaction, PublishError, SessionClosed
from fastapi_events.model.run_start import Sealed

logger = logging.getLogger("fastapi_events")

_KEY = "fastapi_events"
_COMMITTING, _FLUSHING = object(), object()
_A_FLUSH = Site(None, 0)
_WRITE = update(table("event"))
"""Tells a session that chooses among several databases that this connection is to write."""

_CLOSED = (
    "This session has been closed since the publisher was bound to it, so nothing would ever commit the event. Publish "
    "before the session ends, or call events.publish(..., detached=True), which commits by itself (in a background "
    "task or while a response is streamed, for example). To go on with the session, or after expunge_all(), begin a "
    "transaction on it first."
)


class SessionEvents:
    """The state of one session, kept in its ``info``; it holds no reference to the session.

    ``late`` says that the rows of the root commit under way are written already: whatever is published from then on,
    by a hook of the commit itself, is written at once. ``task`` leads to the task that uses an async session.
    """

    __slots__ = ("_identities", "_lost", "_releasing", "buffer", "connection", "flushing", "late", "port", "task")

    def __init__(self, session: Session, port: PublishingPort) -> None:
        self.port = port
        self.buffer = EventBuffer()
        self.connection: Connection | None = None
        self.late = self.flushing = False
        self.task: TaskReference = no_task
        self._identities = session.identity_map
        self._releasing: SessionTransaction | None = None
        self._lost: list[Entry] = []

    def __del__(self) -> None:
        # The session was garbage before anybody closed it.
        self._report_lost(_forgotten(self.buffer.clear()))

    def needs_sql(self, envelopes: Sequence[Sealed]) -> bool:
        """Whether publishing these asks the database at once: for the answer, for the lock, or because it is late."""
        for envelope in envelopes:
            if envelope.explicit_id or envelope.serialize:
                return True
        return self.late

    def is_open(self, session: Session) -> bool:
        """Whether the session is in a transaction, or has not been closed since it was last seen in one.

        SQLAlchemy has no sign of a closed session; but ``close()`` gives it a new identity map.
        """
        return session.in_transaction() or session.identity_map is self._identities

    def publish(self, session: Session, envelopes: Sequence[Sealed], site: Site) -> list[bool]:
        """Take events into the session's current (sub)transaction; says of each whether it is a duplicate."""
        if not self.needs_sql(envelopes):
            return self.buffered(session, envelopes, site)
        scope = self._scope(session)
        if self.late and not self.flushing:
            session.flush()
        entries = self.buffer.add(envelopes, scope, site)
        try:
            return self.write(session)[-len(entries) :] if entries else []
        except BaseException:
            self.buffer.remove(entries)
            raise

    def buffered(self, session: Session, envelopes: Sequence[Sealed], site: Site) -> list[bool]:
        """The same for events that need no SQL yet."""
        self.buffer.add(envelopes, self._scope(session), site)
        return [False] * len(envelopes)

    def changed(self, session: Session, envelope: Sealed, change: Change) -> None:
        """Take what a flush did to a row that tells of itself; its event is written when the session commits."""
        self.buffer.add_change(envelope, change, self._scope(session), _A_FLUSH)
        if self.late:
            self.write(session, committing=True)

    def cancel(self, session: Session, event_id: UUID) -> bool:
        """Take a scheduled event back, in the session's current (sub)transaction; says whether it was there."""
        self._scope(session)
        self.write(session)  # it may be one of those that wait here
        return cancel_on(_connection(session), self.port, event_id)

    def write(self, session: Session, *, committing: bool = False) -> list[bool]:
        """Append the rows of every event that waits, in publishing order."""
        ready = self.buffer.ready(committing=committing)
        if not ready:
            return []
        connection = _connection(session)
        duplicates = append_on(connection, self.port, [entry.envelope for entry in ready])
        scope = session.get_nested_transaction() or session.get_transaction()
        self.buffer.write(ready, scope, duplicates, committing=committing)
        self.connection = connection
        return duplicates

    def before_commit(self, session: Session) -> None:
        """Before the root commit write what waits, after the last flush.

        Releasing a savepoint comes here too. A root commit that finds a savepoint open comes first, with that
        savepoint still the innermost: the second visit with it is the last occasion before the COMMIT.
        """
        self._identities = session.identity_map
        nested = session.get_nested_transaction()
        if nested is not None and nested is not self._releasing:
            self._releasing = nested
            return
        if not session.twophase:  # prepare() comes here too, and whoever stops there is told nothing
            self.buffer.commit_begins()
        session.flush()
        self.write(session, committing=True)
        self.late = True

    def after_commit(self, session: Session) -> None:
        """Hand a released savepoint's events up; after the root commit wake the loops."""
        nested = session.get_nested_transaction()
        if nested is not None:
            self.buffer.release(nested, _boundary(nested.parent))
            return
        self._report_lost([entry for entry in self.buffer.waiting if entry.change is None])
        places = {entry.envelope.place for entry in self.buffer.written}
        self.buffer.clear()
        wake_after(self.connection, self.port, places)

    def after_rollback(self, session: Session) -> None:
        """Drop what the innermost (sub)transaction held, and what savepoints inside it had left behind."""
        self.buffer.roll_back(session.get_nested_transaction() or session.get_transaction())
        self._lost.clear()

    def after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        """Whatever a transaction still holds at its end was neither committed nor rolled back by anybody."""
        if not transaction.nested and transaction.parent is not None:
            self.flushing = False
            return
        self._lost += self.buffer.roll_back(transaction)
        if transaction.parent is None:
            lost, self._lost = self._lost, []
            self.connection = self._releasing = None
            self.late = self.flushing = False
            self._report_lost(self._unexcused(session, _forgotten(lost)))

    def _scope(self, session: Session) -> SessionTransaction:
        transaction = session.get_nested_transaction() or session.get_transaction()
        if transaction is None:
            return self._begin(session)
        self._identities = session.identity_map
        if not session.is_active:
            raise NotInTransaction(
                "This session's transaction is over: it was rolled back by an error, or it has just been committed. "
                "Call rollback() before publishing again, and publish in a before_commit hook, not in after_commit."
            )
        return transaction

    def _begin(self, session: Session) -> SessionTransaction:
        if not self.is_open(session):
            raise SessionClosed(_CLOSED)
        if not session.autobegin:
            raise NotInTransaction(
                "This session was made with autobegin=False and no transaction is open, so the event could not commit "
                "with anything. Publish inside `with session.begin():` (async with, for an AsyncSession)."
            )
        try:
            return session.begin()
        except InvalidRequestError as error:
            raise SessionClosed(f"{_CLOSED} ({error})") from error

    def _unexcused(self, session: Session, lost: Sequence[Entry]) -> Sequence[Entry]:
        """Those that no exception kept from being committed: one that came after them, and closes the session now."""
        error = closing_exception(session, self.task) if lost else None
        if error is None:
            return lost
        left = [entry for entry in lost if entry.site.handling == id(error)]
        if len(left) < len(lost):
            logger.debug(
                "A session was closed by %s before its published events were committed; none of %d is stored.",
                type(error).__name__,
                len(lost) - len(left),
            )
        return left

    def _report_lost(self, lost: Sequence[Entry]) -> None:
        if not lost:
            return
        logger.warning(lost_text(lost))
        self.port.count("uncommitted_publish", len(lost))


def _forgotten(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Without those whose commit was refused: whoever called it was told by its error.

    Without changes of rows, too: they are lost together with the rows, and nobody has published them.
    """
    return [entry for entry in entries if not entry.commit_began and entry.change is None]


def events_of(session: Session) -> SessionEvents | None:
    """What a session has published, if anybody ever bound a publisher to it."""
    events = session.info.get(_KEY)
    return events if isinstance(events, SessionEvents) else None


def bind_events(session: Session, port: PublishingPort) -> SessionEvents:
    """The state of a session, made at the first binding."""
    events = session.info.get(_KEY)
    if not isinstance(events, SessionEvents):
        phase, events = events, SessionEvents(session, port)
        events.late, events.flushing = phase is not None, phase is _FLUSHING
        session.info[_KEY] = events
    elif events.port is not port:
        if events.buffer.waiting or events.buffer.written:
            raise PublishError(
                "Two Events instances publish in one transaction of a session. One application has one Events: import "
                "it where it is needed, or commit before the other publishes."
            )
        events.port = port
    return events


def note_phase(session: Session, *, committing: bool, flushing: bool = False) -> None:
    """Remember of a session without publisher what it is doing: a hook of its commit may bind the first one."""
    if not committing:
        session.info.pop(_KEY, None)
    elif not flushing or session.info.get(_KEY) is _COMMITTING:
        session.info[_KEY] = _FLUSHING if flushing else _COMMITTING


def _connection(session: Session) -> Connection:
    """The connection that the session writes on, also where it chooses among databases by what is to be executed."""
    if session.bind is not None and type(session).get_bind is Session.get_bind:
        return session.connection()
    try:
        return session.connection(bind_arguments={"clause": _WRITE})
    except UnboundExecutionError as error:
        error.add_note(
            "Events are appended on the session's default bind, and this session has none: make it with bind=..., the "
            "engine of the database that the events are in, beside binds={...}."
        )
        raise


def _boundary(transaction: SessionTransaction | None) -> SessionTransaction | None:
    """The transaction or savepoint around: a flush in between is neither."""
    while transaction is not None and not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction
