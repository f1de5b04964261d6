"""The hooks that hear of the rows that a flush writes; they are set once a class declares that it emits.

What a flush does to objects is noted while it goes on, and told when it is through: then keys and defaults that the
database makes are there. A flush is known by its own (sub)transaction, which ends however the flush does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import ref

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Mapper, Session, SessionTransaction, object_session

from fastapi_events.api.emits import guard
from fastapi_events.api.emits.differences import old_values
from fastapi_events.api.emits.emission import Emission, emission_of
from fastapi_events.api.emits.telling import Note, deleted_values, tell
from fastapi_events.api.publishing import session_hooks
from fastapi_events.api.publishing.session_events import events_of

_KEY = "fastapi_events_emits"


@dataclass(slots=True)
class _Flush:
    """A flush under way: SQLAlchemy's own account of it, its transaction once it has begun, and what it does.

    The account leads to the session, which has this in its ``info``: neither shall keep the other alive.
    """

    context: Callable[[], Any]
    transaction: SessionTransaction | None = None
    notes: list[Note] = field(default_factory=list[Note])


def watch(mapped: type[Any], mapper: Mapper[Any], *, first: bool) -> None:
    """Hear of the rows of a class and of those derived from it; ``first``: nobody hears of its rows yet."""
    _install()
    for each in mapper.self_and_descendants:
        _guard_tables(each, mapped)
    if not first:
        return
    event.listen(mapped, "after_mapper_constructed", _guard_tables, propagate=True)
    event.listen(mapped, "before_insert", _before_insert, propagate=True)
    event.listen(mapped, "before_update", _before_update, propagate=True)
    event.listen(mapped, "before_delete", _before_delete, propagate=True)


@cache
def _install() -> None:
    session_hooks.install()
    event.listen(Engine, "before_execute", guard.before_execute)
    event.listen(Session, "before_commit", _before_commit, insert=True)
    event.listen(Session, "before_flush", _before_flush)
    event.listen(Session, "after_transaction_create", _after_transaction_create)
    event.listen(Session, "after_flush", _after_flush)
    event.listen(Session, "after_transaction_end", _after_transaction_end)


def _guard_tables(mapper: Mapper[Any], mapped: type[Any]) -> None:
    for table in mapper.tables:
        guard.guard_table(table, mapped.__qualname__)


def _before_commit(session: Session) -> None:
    """Flush before the publishing hooks look at the session: the flush may be the first to give them something."""
    if events_of(session) is None:
        session.flush()


def _before_flush(session: Session, context: Any, _instances: Any) -> None:
    session.info[_KEY] = _Flush(ref(context))


def _after_transaction_create(session: Session, transaction: SessionTransaction) -> None:
    """A flush has a transaction inside another that is no savepoint; so have the bulk methods, which announce nothing.

    A flush that was announced and then found nothing to do has no work.
    """
    if transaction.nested or transaction.parent is None:
        return
    flush = session.info.get(_KEY)
    if not isinstance(flush, _Flush) or flush.transaction is not None:
        return
    context = flush.context()
    if context is not None and context.has_work:
        flush.transaction = transaction
        guard.flush_begins(transaction)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    flush = session.info.get(_KEY)
    if isinstance(flush, _Flush) and flush.transaction is transaction:
        del session.info[_KEY]
        guard.flush_ends(transaction)


def _before_insert(_mapper: Mapper[Any], _connection: Connection, target: object) -> None:
    _note(target, "created")


def _before_update(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    if (emission := _emission(target)) is not None:
        _note(target, "updated", old_values(mapper, connection, target, emission.ignore))


def _before_delete(_mapper: Mapper[Any], _connection: Connection, target: object) -> None:
    """Read the values while the row is there: those that have expired can be loaded for the last time."""
    if (emission := _emission(target)) is not None:
        _note(target, "deleted", deleted_values(emission, target))


def _after_flush(session: Session, _context: Any) -> None:
    flush = session.info.get(_KEY)
    if isinstance(flush, _Flush) and flush.notes:
        notes, flush.notes = flush.notes, []
        tell(session, notes)


def _emission(target: object) -> Emission | None:
    return None if guard.is_silent() else emission_of(type(target))


def _note(target: object, operation: Any, values: Any = None) -> None:
    session, emission = object_session(target), _emission(target)
    flush = session.info.get(_KEY) if session is not None else None
    if emission is not None and isinstance(flush, _Flush):
        flush.notes.append(Note(emission, operation, target, values or {}))
