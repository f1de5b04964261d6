"""Refusing what changes rows without loading them: no flush sees it, so no event would tell of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, UpdateBase
from sqlalchemy.sql import FromClause

from fastapi_events.errors import BulkChangeRefused

_silent: ContextVar[bool] = ContextVar("fastapi_events_without_events", default=False)
_flush: ContextVar[object | None] = ContextVar("fastapi_events_flush", default=None)
_tables: WeakKeyDictionary[FromClause, str] = WeakKeyDictionary()


@contextmanager
def without_events() -> Generator[None]:
    """Let rows change in silence, on purpose: in a migration, a seed, a back-fill.

    What is flushed in the block publishes nothing, and statements that change many rows at once are not refused. Flush
    or commit inside the block: an object that is flushed after it is told of. Holds for this task or thread alone. It
    concerns only the events of ``emits``; those that are published by a call are published.
    """
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def is_silent() -> bool:
    """Whether ``without_events`` holds here."""
    return _silent.get()


def guard_table(table: FromClause, owner: str) -> None:
    """Refuse statements that change this table's rows outside a flush; ``owner`` is the class that emits."""
    _tables.setdefault(table, owner)


def flush_begins(flush: object) -> None:
    """What is sent in this context from now on is the flush's own."""
    _flush.set(flush)


def flush_ends(flush: object) -> None:
    """The flush is over, however it ended."""
    if _flush.get() is flush:
        _flush.set(None)


def before_execute(
    _connection: Connection, statement: Any, _multi: Any, _parameters: Any, options: Mapping[str, Any]
) -> None:
    """Look at a statement before it is sent; raises ``BulkChangeRefused``."""
    table = getattr(statement, "table", None) if isinstance(statement, UpdateBase) else None
    owner = None if table is None else _tables.get(table)
    if owner is None:
        return
    if _flush.get() is not None or is_silent() or options.get("emits") is False:
        return
    what = statement.__visit_name__
    raise BulkChangeRefused(
        f"{owner} emits events, and {_ARTICLES.get(what, what)} of its table changes rows that no session has loaded, "
        f"so that nothing would tell of them. Change objects of {owner} and flush them; or say that it is on purpose, "
        "with .execution_options(emits=False) on the statement, or in a block: with without_events()."
    )


_ARTICLES = {"insert": "an INSERT", "update": "an UPDATE", "delete": "a DELETE"}
