"""Real connections to the server, made once and used by one simulated process after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import asyncpg

from fastapi_events.store.database import _SESSION

T = TypeVar("T")

SIMULATION = """
    CREATE SCHEMA simulated;
    CREATE SEQUENCE simulated.moment MINVALUE 0;
    CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT to_timestamp(nextval(''simulated.moment'') / 1000.0)';
    CREATE SEQUENCE simulated.chance;
    CREATE FUNCTION simulated.random() RETURNS double precision LANGUAGE sql VOLATILE
        AS 'SELECT (nextval(''simulated.chance'') * 618033 % 1000000) / 1000000.0::double precision';
"""
"""Clock and chance of the statements, which come before the server's own in the search path. A millisecond passes each
time that somebody looks at the clock, and more when the schedule says so."""

_SETTINGS = {"search_path": "simulated, pg_catalog, public", "deadlock_timeout": "1ms", "synchronous_commit": "off"}
_KINDS = {"bookkeeping": {**_SESSION, **_SETTINGS, "lock_timeout": "0"}, "handler": _SETTINGS, "publisher": _SETTINGS}


class Stable:
    """Lends connections out, lowest number first; ``loop`` is the only one that does real input and output."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.loop = asyncio.new_event_loop()
        self._free: dict[str, list[tuple[int, Any]]] = {kind: [] for kind in _KINDS}
        self._made = 0
        self._numbers: dict[Any, int] = {}

    def take(self, kind: str) -> Any:
        """A connection that is in no transaction."""
        if not self._free[kind]:
            return self._make(kind)
        self._free[kind].sort(key=lambda entry: entry[0])
        return self._free[kind].pop(0)[1]

    def give_back(self, kind: str, connection: Any) -> None:
        """It has been rolled back."""
        self._free[kind].append((self._numbers[connection], connection))

    def run(self, awaitable: Awaitable[T]) -> T:
        """Do something real, to its end."""
        return self.loop.run_until_complete(awaitable)  # type: ignore[arg-type]

    def finished(self, task: asyncio.Task[Any], within: float) -> bool:
        """Whether a task comes to its end within so many seconds of real time."""
        if not task.done():
            over = self.loop.create_future()

            def end(_: object = None) -> None:
                if not over.done():
                    over.set_result(None)

            task.add_done_callback(end)
            limit = self.loop.call_later(within, end)
            self.loop.run_until_complete(over)
            limit.cancel()
        return task.done()

    def close(self) -> None:
        for kept in self._free.values():
            for _, connection in kept:
                self.run(connection.close())
        self.loop.close()

    def _make(self, kind: str) -> Any:
        connection: Any = self.run(asyncpg.connect(self.url, server_settings=_KINDS[kind]))
        self._numbers[connection] = self._made
        self._made += 1
        return connection
