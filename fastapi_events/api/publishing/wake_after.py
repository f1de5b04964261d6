"""Waking the loops after a commit that is none of ours to hear of.

A session tells when it has committed. A connection tells only that it is about to; from then on its transaction is
watched, for a few seconds at most, until it is over. What is missed here is found by polling.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.model.lane import LogPlace

_WATCHED = 12
_FIRST_LOOK = 0.0005
"""Seconds to the first look; each pause is twice the one before it: two seconds in all."""


class _Pending:
    __slots__ = ("places", "port")

    def __init__(self, port: PublishingPort) -> None:
        self.port = port
        self.places: set[LogPlace] = set()


_pending: WeakKeyDictionary[Connection, _Pending] = WeakKeyDictionary()


def wake_after(connection: Connection | None, port: PublishingPort, places: Collection[LogPlace]) -> None:
    """Wake now if the connection's transaction is over, else once it has been committed."""
    if not places:
        return
    if connection is None or not connection.in_transaction():
        port.committed(places)
        return
    pending = _pending.get(connection)
    if pending is None:
        pending = _pending[connection] = _Pending(port)
        event.listen(connection, "commit", _on_commit)
        event.listen(connection, "rollback", _on_rollback)
    pending.port = port
    pending.places.update(places)


def _on_commit(connection: Connection) -> None:
    pending = _pending.get(connection)
    if pending is None or not pending.places:
        return
    port, places, pending.places = pending.port, pending.places, set()
    transaction = connection.get_transaction()
    _Watch(lambda: connection.get_transaction() is not transaction, lambda: port.committed(places)).begin()


def _on_rollback(connection: Connection) -> None:
    pending = _pending.get(connection)
    if pending is not None:
        pending.places.clear()


class _Watch:
    """Looks a few times, on the event loop or beside a thread without one, until something is over."""

    def __init__(self, is_over: Callable[[], bool], then: Callable[[], None]) -> None:
        self._is_over, self._then = is_over, then
        self._pauses: Iterator[float] = (_FIRST_LOOK * 2**number for number in range(_WATCHED))
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def begin(self) -> None:
        pause = next(self._pauses, None)
        if pause is None:
            return
        if self._loop is not None:
            self._loop.call_later(pause, self._look)
            return
        timer = threading.Timer(pause, self._look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        if self._is_over():
            self._then()
        else:
            self.begin()
