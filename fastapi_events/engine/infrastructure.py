"""Telling failures of the infrastructure from failures of a handler.

A lost connection, a failover, a deadlock or a serialization failure says nothing about the event: it is tried again
without spending one of its attempts. Only SQLSTATEs and exception types decide, never messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import FrameType

import asyncpg

# Connection exceptions (08), insufficient resources (53), operator intervention (57); serialization failure and
# deadlock (40001, 40P01), lock not available (55P03), a read-only node after a failover (25006), an idle transaction or
# one that took too long, ended by the server (25P03, 25P04).
_CLASSES = ("08", "53", "57")
_STATES = frozenset({"40001", "40P01", "55P03", "25006", "25P03", "25P04"})
_HELD_UP = frozenset({"55P03", "40P01"})
_CANCELED = "57014"
# What PostgreSQL refuses for what is in it: cardinality, data, integrity and triggered actions, a program's limits, and
# exceptions raised by code in the database.
_REFUSED_CLASSES = ("21", "22", "23", "27", "38", "39", "44", "54", "P0")
# No address, no route and no answer are OSErrors too.
_LOST = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
READ_ONLY = "25006"
"""A connection that answers so was opened while the server was a standby, or was told so by a handler."""


class NoConnection(Exception):
    """No connection could be had for a handler, which was therefore not called: never the handler's fault."""


FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0


def interrupted_delay(postponed: int) -> float:
    """Seconds until a delivery that the infrastructure interrupted is tried again, the ``postponed``-th time before:
    one second, doubling up to a minute."""
    return float(min(FIRST_DELAY * 2 ** min(postponed, 10), LONGEST_DELAY))


def is_infrastructure(error: BaseException) -> bool:
    """Whether ``error``, or what it was raised from, is the infrastructure's fault rather than the handler's.

    A statement of the handler's own that the server cancelled (57014), for its ``statement_timeout`` as a rule, is the
    handler's: it would be cancelled each time.
    """
    try:
        return any(_is_ours(link) for link in _chain(error))
    except Exception:  # noqa: BLE001 - an error whose attributes cannot be read is none of a database driver's
        return False


def is_held_up(error: BaseException) -> bool:
    """Whether somebody is in the way: a lock that was not to be had in time, or a deadlock."""
    return sqlstate_of(error) in _HELD_UP


def is_refusal(error: BaseException) -> bool:
    """Whether the database, or the driver before it, refuses what was to be written for what is in it.

    Lacking rights or tables, and a broken server, are no refusals: they would meet anything.
    """
    if is_infrastructure(error):
        return False
    state = sqlstate_of(error)
    return state[:2] in _REFUSED_CLASSES if state else isinstance(error, (ValueError, TypeError, ArithmeticError))


def describe(error: BaseException) -> str:
    """One line for a log: type and first line of the message, control characters escaped."""
    try:
        text = str(error).split("\n", 1)[0]
    except Exception:  # noqa: BLE001 - an exception's own __str__ may be broken
        text = "(its message cannot be read)"
    return f"{type(error).__name__}: {text[:300]}".encode("unicode_escape").decode()


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a database error of asyncpg, psycopg, or SQLAlchemy's wrapper around one."""
    for link in _chain(error):
        state = getattr(link, "sqlstate", None) or getattr(link, "pgcode", None)
        if isinstance(state, str):
            return state
    return None


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, (asyncpg.exceptions.InvalidCachedStatementError, NoConnection)):
        return True  # the SQLSTATE of the first is that of any unsupported feature
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state == _CANCELED:
        return _in_our_wait(error)
    if isinstance(state, str):
        return state[:2] in _CLASSES or state in _STATES
    if getattr(error, "connection_invalidated", False):
        return True
    module, name = type(error).__module__, type(error).__name__
    if isinstance(error, asyncio.CancelledError):
        return False
    if isinstance(error, TimeoutError):
        return module.startswith(("sqlalchemy", "asyncpg")) or _in_our_wait(error) or _while_connecting(error)
    if isinstance(error, _LOST):
        return _from_database(error)
    if name == "TimeoutError":
        return module == "sqlalchemy.exc"
    # Without a SQLSTATE psycopg speaks of the connection, not of a statement.
    return module.startswith("psycopg") and name in ("OperationalError", "InterfaceError", "ConnectionTimeout")


def _while_connecting(error: BaseException) -> bool:
    """Whether asyncpg was opening a connection: how long a statement of the handler's takes is the handler's."""
    return any(
        _module_of(frame).startswith("asyncpg.") and frame.f_code.co_name in ("connect", "_connect")
        for frame in _frames(error)
    )


def _from_database(error: BaseException) -> bool:
    """An ``OSError`` of the user's own HTTP client is an ordinary failure; the database's passes through its driver."""
    if type(error).__module__.startswith("asyncpg"):
        return True
    return any(_module_of(frame).startswith(("asyncpg.", "psycopg.", "sqlalchemy.")) for frame in _frames(error))


def _in_our_wait(error: BaseException) -> bool:
    """Whether a statement was the library's own: bookkeeping, or the taking of a mark, which waits for who has it."""
    return any(
        _module_of(frame).startswith("fastapi_events.store.")
        or (_module_of(frame) == "fastapi_events.engine.kept_transaction" and frame.f_code.co_name == "begin")
        for frame in _frames(error)
    )


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = getattr(link, "orig", None) or link.__cause__
