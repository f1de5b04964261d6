"""``in_memory``: an application's own ``Events`` object on memory, for the length of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from uuid import UUID

from pydantic import ValidationError

from fastapi_events.errors import NotStarted, SettingsError
from fastapi_events.model.registry import Registry
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.held_back import settle
from fastapi_events.testing.memory.kept import Kept
from fastapi_events.testing.memory.log import Row


class Switched(Protocol):
    """An ``Events`` object, as the switch sees it."""

    @property
    def registry(self) -> Registry:
        """Which event classes there are."""
        ...

    @property
    def memory(self) -> InMemory | None:
        """What the next start keeps the events in; None is the database."""
        ...

    def keep_in(self, memory: InMemory | None) -> None:
        """Where the next start finds the events."""
        ...

    async def start(self, *, drains: bool | None = None) -> None:
        """Start the instance."""
        ...

    async def stop(self) -> None:
        """Stop it."""
        ...

    async def drain_once(self) -> int:
        """Handle what is there."""
        ...


class Stored(NamedTuple):
    """An event of the log, as a test looks at it.

    ``event`` is of its class, or the payload's text if there is none or it does not take that.
    """

    event: Any
    event_id: UUID
    position: int
    name: str
    key: str | None
    tenant_id: str | None
    correlation_id: UUID
    causation_id: UUID | None
    published_at: datetime


class InMemory:
    """An ``Events`` object on memory: see ``in_memory``."""

    def __init__(self, events: Switched, sessions: Any, sync_sessions: Any, drains: bool) -> None:
        self._events = events
        self.sessions, self.sync_sessions, self.drains = sessions, sync_sessions, drains
        self.kept = Kept()
        self._before: InMemory | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop on which the instance is started."""

    @property
    def clock(self) -> Clock:
        """The clock of back-offs, delays and schedules: ``clock.advance(timedelta(minutes=10))``."""
        return self.kept.clock

    @property
    def events(self) -> Sequence[Stored]:
        """What has been committed, in the order of the log."""
        settle()
        return [self._stored(row) for row in self.kept.log.events]

    def drain(self, *, timeout: float | timedelta = 30.0) -> int:
        """``drain_once()`` as a plain call, for tests whose application runs on another thread's loop (``TestClient``).

        ``timeout`` in seconds; raises ``TimeoutError`` after it, ``NotStarted`` where nothing runs, and
        ``SettingsError`` on that event loop itself: there write ``await events.drain_once()``.
        """
        loop = self.loop
        if loop is None or loop.is_closed():
            raise NotStarted(
                "memory.drain() needs an application that is started inside of in_memory(events): "
                "with in_memory(events) as memory, TestClient(app) as client:"
            )
        if _running() is loop:
            raise SettingsError(
                "memory.drain() would wait for itself on its own event loop: await events.drain_once()."
            )
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        return asyncio.run_coroutine_threadsafe(self._events.drain_once(), loop).result(seconds)

    def __enter__(self) -> Self:
        self._before = self._events.memory
        self._events.keep_in(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.keep_in(self._before)

    async def __aenter__(self) -> Self:
        self.__enter__()
        try:
            await self._events.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._events.stop()
        self.__exit__()

    def _stored(self, row: Row) -> Stored:
        kind = self._events.registry.class_of(row["name"], row["version"])
        event = text = row["payload"]
        if kind is not None:
            with suppress(ValidationError):  # whoever handles it finds out
                event = kind.model_validate_json(text, by_alias=True, by_name=True)
        return Stored(event, *(row["id" if name == "event_id" else name] for name in Stored._fields[1:]))


def in_memory(events: Any, *, sessions: Any = None, sync_sessions: Any = None, drains: bool = False) -> InMemory:
    """Keep an ``Events`` object's events in memory for a block of code: no PostgreSQL, nothing to install or clean.

    ``async with in_memory(events) as memory:`` starts the instance, too. ``with in_memory(events) as memory:`` leaves
    that to whoever does it: the lifespan of the app under ``TestClient``, or ``start()``. Everything else stays as in
    production: modules, settings, middleware, publishers bound to sessions of any database. Events become true with
    the session's commit. Handlers are called by ``await events.drain_once()``, or by themselves with ``drains=True``.

    ``sessions`` and ``sync_sessions`` are the makers of handlers' sessions and of ``events.session()`` meanwhile; left
    out, they are those of the ``Events`` object, and where that has none, sessions on a fresh SQLite database.

    Raises ``SettingsError`` for an instance that is started elsewhere. What memory does not do raises ``NotOnMemory``.
    Nothing here proves what a database must: see ``docs/how-to/testing-in-memory.md``.
    """
    if not hasattr(events, "keep_in"):
        raise SettingsError(f"in_memory() takes the application's Events object, not {events!r:.80}.")
    return InMemory(events, sessions, sync_sessions, drains)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
