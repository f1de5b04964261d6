"""The hooks that let a session's events follow its transaction.

They are set on SQLAlchemy's ``Session`` class, once: sessions of every subclass are served, whoever made them, and one
that publishes nothing pays a few dictionary look-ups per commit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from fastapi_events.api.publishing.session_events import events_of, note_phase


@cache
def install() -> None:
    """Set the hooks; idempotent."""
    event.listen(Session, "before_commit", _before_commit)
    event.listen(Session, "before_flush", _before_flush, insert=True)
    event.listen(Session, "after_commit", _after_commit)
    event.listen(Session, "after_rollback", _after_rollback)
    event.listen(Session, "after_transaction_end", _after_transaction_end)


def _before_commit(session: Session) -> None:
    if events := events_of(session):
        events.before_commit(session)
    else:
        note_phase(session, committing=True)


def _before_flush(session: Session, _context: Any, _instances: Any) -> None:
    if events := events_of(session):
        events.flushing = True
    else:
        note_phase(session, committing=True, flushing=True)


def _after_commit(session: Session) -> None:
    if events := events_of(session):
        events.after_commit(session)


def _after_rollback(session: Session) -> None:
    if events := events_of(session):
        events.after_rollback(session)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if events := events_of(session):
        events.after_transaction_end(session, transaction)
    elif transaction.nested or transaction.parent is None:
        note_phase(session, committing=False)
