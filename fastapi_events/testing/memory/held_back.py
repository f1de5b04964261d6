"""What a transaction of any database holds back in memory until its commit, and drops with its rollback.

SQLAlchemy tells of savepoints, commits and rollbacks of every connection, whatever its driver. It tells of a commit
before it is made: what it was made for becomes true when the transaction is seen to be over, and no error has been
told in between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.sql.expression import SavepointClause


class Keeper(Protocol):
    """Whoever takes over what has been committed."""

    def keep(self, things: Sequence[Any], /) -> None:
        """These have become true, together and in this order."""
        ...


class _Savepoint(NamedTuple):
    name: str
    held: int


class _Held:
    """What one transaction holds back, and how much it held when each of its savepoints was set."""

    __slots__ = ("savepoints", "things", "transaction")

    def __init__(self, transaction: object) -> None:
        self.transaction = transaction
        self.things: list[tuple[Keeper, Any]] = []
        self.savepoints: list[_Savepoint] = []


lock = threading.RLock()
"""Held by whoever looks at, or changes, what memory keeps: requests and handlers may run in threads."""
_held: WeakKeyDictionary[Connection, _Held] = WeakKeyDictionary()
_ending: list[tuple[Connection, _Held]] = []
_followed: WeakSet[Connection] = WeakSet()
_watched: WeakSet[Engine] = WeakSet()


def hold(connection: Connection, keeper: Keeper, things: Sequence[Any]) -> None:
    """Hold things back until the transaction that is open on the connection, or begins with this, is committed."""
    with lock:
        settle()
        _follow(connection)
        transaction = connection.get_transaction() or connection.begin()
        held = _held.get(connection)
        if held is None or held.transaction is not transaction:
            held = _held[connection] = _Held(transaction)
        held.things += [(keeper, thing) for thing in things]


def held_on(connection: Connection, keeper: Keeper) -> list[Any]:
    """What the connection's transaction holds back for this keeper."""
    with lock:
        held = _held.get(connection)
        if held is None or held.transaction is not connection.get_transaction():
            return []
        return [thing for owner, thing in held.things if owner is keeper]


def held_elsewhere(connection: Connection | None, keeper: Keeper) -> Iterator[Any]:
    """What other connections' transactions hold back for this keeper."""
    with lock:
        everybody = [*_held.items(), *_ending]
    for other, held in everybody:
        if other is not connection and other.get_transaction() is held.transaction:
            yield from (thing for owner, thing in held.things if owner is keeper)


def settle() -> None:
    """Hand over what transactions held back that have been committed since."""
    with lock:
        over = [each for each in _ending if each[0].get_transaction() is not each[1].transaction]
        for each in over:
            _ending.remove(each)
        for _, held in over:
            for keeper, things in groupby(held.things, key=itemgetter(0)):
                keeper.keep([thing for _, thing in things])


def _follow(connection: Connection) -> None:
    if connection.engine not in _watched:
        _watched.add(connection.engine)
        event.listen(connection.engine, "handle_error", _on_error)
    if connection in _followed:
        return
    _followed.add(connection)
    event.listen(connection, "before_execute", _before_execute)
    event.listen(connection, "rollback_savepoint", partial(_on_savepoint_end, undone=True))
    event.listen(connection, "release_savepoint", partial(_on_savepoint_end, undone=False))
    event.listen(connection, "commit", _on_commit)
    event.listen(connection, "commit_twophase", _on_commit_twophase)
    event.listen(connection, "rollback", _forget)
    event.listen(connection, "rollback_twophase", _on_rollback_twophase)


def _before_execute(
    connection: Connection, what: Any, _multiparams: Any, _params: Any, _execution_options: Any
) -> None:
    """The event of a savepoint is told before that has a name: here it has one."""
    if not isinstance(what, SavepointClause):
        return
    name = what.ident
    with lock:
        transaction, held = connection.get_transaction(), _held.get(connection)
        if held is None or held.transaction is not transaction:
            held = _held[connection] = _Held(transaction)
        held.savepoints.append(_Savepoint(name, len(held.things)))


def _on_savepoint_end(connection: Connection, name: str, _context: Any, *, undone: bool) -> None:
    with lock:
        held = _held.get(connection)
        if held is None:
            return
        # One that was set before anything was held back here is none of those, and what it undoes is everything.
        place = next((at for at, one in enumerate(held.savepoints) if one.name == name), None)
        if undone:
            del held.things[0 if place is None else held.savepoints[place].held :]
        if place is not None:
            del held.savepoints[place:]


def _on_commit(connection: Connection) -> None:
    with lock:
        held = _held.pop(connection, None)
        if held is not None and held.things and held.transaction is connection.get_transaction():
            _ending.append((connection, held))


def _on_commit_twophase(connection: Connection, _xid: Any, _is_prepared: bool) -> None:
    _on_commit(connection)


def _on_rollback_twophase(connection: Connection, _xid: Any, _is_prepared: bool) -> None:
    _forget(connection)


def _forget(connection: Connection) -> None:
    with lock:
        _held.pop(connection, None)
        _ending[:] = [each for each in _ending if each[0] is not connection]


def _on_error(context: ExceptionContext) -> None:
    """A COMMIT that fails is followed by a rollback, or by none at all, if the connection is closed instead."""
    with lock:
        _ending[:] = [each for each in _ending if each[0] is not context.connection]
