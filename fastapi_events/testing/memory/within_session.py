"""Handlers called inside the open transaction of a test's session, for what it has published: nothing is committed.

The events are those that the transaction has written, on PostgreSQL or in memory. Handlers' sessions are savepoints of
it, marks are kept in memory for as long as it is open, and no delivery is written: what fails is raised to the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary, ref

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.publishing.append import append_on
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.api.publishing.session_events import events_of
from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import (
    HandlerSession,
    OwnedSession,
    SyncHandlerSession,
    handler_session_class,
)
from fastapi_events.engine.handler_transaction import session_options
from fastapi_events.engine.handlers import Handler, HandlerPlan
from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import as_given
from fastapi_events.errors import OperationRefused
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.run_start import Sealed
from fastapi_events.testing.memory.attempts import Attempts, WatchedRun
from fastapi_events.testing.memory.marks import MemoryMarks

Read = Callable[[Connection], Sequence[Any]]
"""The rows of the events that a connection's transaction has written, in their order."""


class HandlerFailed(Exception):
    """A handler's attempt failed without an exception of its own, by its time-out or by what is stored."""


@dataclass(slots=True)
class Seen:
    """What has been handled in one transaction."""

    transaction: ref[Any]
    """Weak: a transaction knows its connection, by which this is kept."""
    events: set[UUID] = field(default_factory=set[UUID])
    blocked: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    marks: MemoryMarks = field(default_factory=MemoryMarks)


_seen: WeakKeyDictionary[Connection, Seen] = WeakKeyDictionary()


class WithinSession:
    """Handles what one session's transaction has published, and what comes of it."""

    def __init__(self, session: AsyncSession | Session, plan: HandlerPlan, port: PublishingPort, read: Read) -> None:
        self._session, self._plan, self._port, self._read = session, plan, port, read
        self._errors: list[Exception] = []

    async def drain(self, make_attempts: Callable[[Seen, Any], Attempts]) -> int:
        """Handle until nothing is left; returns the number of events.

        What failed is raised when everything else has been handled: the handler's own exception, or an
        ``ExceptionGroup`` of several.
        """
        await self._run(self._write)
        bind: Any = self._session.connection()
        bind = await bind if isinstance(self._session, AsyncSession) else bind
        connection: Connection = getattr(bind, "sync_connection", bind)
        transaction, seen = connection.get_transaction(), _seen.get(connection)
        if seen is None or seen.transaction() is not transaction:
            seen = _seen[connection] = Seen(ref(transaction))
        attempts, handled = make_attempts(seen, bind), 0
        try:
            while new := [row for row in await self._run(self._read_on(connection)) if row["id"] not in seen.events]:
                for row in new:
                    seen.events.add(row["id"])
                    await self._handle(Item(row, lane=row["lane"], version=row["version"], xid=None), attempts, seen)
                handled += len(new)
        finally:
            await attempts.close()
        self._raise()
        return handled

    async def _handle(self, item: Item, attempts: Attempts, seen: Seen) -> None:
        for taker in self._plan.takers_of(item.name).all:
            handler = taker.handler
            if handler is None:
                continue
            slot = (handler.number, item.slot(ordered=handler.ordered))
            if slot in seen.blocked:
                continue
            if (why := self._refusal(handler)) is not None:
                refused = OperationRefused(f"drain_once(session=...) cannot call handler {handler.id!r}: {why}")
                self._errors.append(refused)
                continue
            run = WatchedRun(handler, as_given(handler, item))
            outcome = await attempts.make(run)
            if not outcome.settled:
                seen.blocked.add(slot)
                self._errors.append(_error_of(run, outcome))
                continue
            if run.mark is not None and outcome.kind == "done" and not outcome.committed:
                seen.marks.add(handler.number, run.mark)
            if outcome.children:
                await self._run(partial(self._append, outcome.children))

    def _refusal(self, handler: Handler) -> str | None:
        wants = handler.signature.wants
        if HandlerConnection in wants or SyncHandlerSession in wants:
            return (
                "its HandlerConnection or SyncHandlerSession cannot be a savepoint of the test's session. Commit, and "
                "await events.drain_once()."
            )
        if HandlerSession in wants and not isinstance(self._session, AsyncSession):
            return "it takes a HandlerSession, which cannot be a savepoint of a plain Session. Pass an AsyncSession."
        return None

    async def _run(self, call: Callable[[Session], Any]) -> Any:
        if isinstance(self._session, AsyncSession):
            return await self._session.run_sync(call)
        return call(self._session)

    def _write(self, session: Session) -> None:
        session.flush()
        if (events := events_of(session)) is not None:
            events.write(session, committing=True)

    def _read_on(self, connection: Connection) -> Callable[[Session], Any]:
        return lambda _: self._read(connection)

    def _append(self, children: Sequence[Sealed], session: Session) -> None:
        append_on(session.connection(), self._port, children)

    def _raise(self) -> None:
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise ExceptionGroup(f"{len(self._errors)} handlers failed", self._errors)


class JoinedTransactions:
    """Makes handlers' sessions that are savepoints of a test's transaction, configured as ``sessions`` makes them."""

    def __init__(self, sessions: Any, bind: Any, marks: MemoryMarks) -> None:
        self._kind, self._marks = handler_session_class(sessions.class_, HandlerSession), marks
        apart = ("bind", "binds", "twophase")
        self._options = {name: value for name, value in session_options(sessions).items() if name not in apart}
        self._options |= {"bind": bind, "join_transaction_mode": "create_savepoint"}

    async def open(self, *, session: bool = True) -> JoinedTransaction:  # noqa: ARG002 - there is no other way here
        return JoinedTransaction(self._kind(**self._options), self._marks)

    async def close(self) -> None:
        return


class JoinedTransaction:
    """A savepoint: the mark first, then the handler's effects and events, then its release."""

    driver = None

    def __init__(self, session: Any, marks: MemoryMarks) -> None:
        self.session, self._marks = session, marks

    async def begin(
        self, handler: int, mark: UUID, position: int, timeout: float, replay: UUID | None  # noqa: ARG002
    ) -> bool:  # fmt: skip
        return await self._marks.take(await self.session.connection(), handler, mark, position, replay)

    async def begin_list(
        self, handler: int, marks: Sequence[tuple[UUID, int]], timeout: float, replay: UUID | None  # noqa: ARG002
    ) -> set[UUID]:  # fmt: skip
        return await self._marks.take_list(await self.session.connection(), handler, marks, replay)

    async def commit(self) -> None:
        await self.session.run_sync(OwnedSession.commit_delivery)

    async def end(self, _error: BaseException | None, /) -> None:
        await self.session.run_sync(OwnedSession.end_delivery)

    def cut(self) -> None:
        """The line to the server is the test's: the attempt is cancelled, and its savepoint rolled back."""


def _error_of(run: WatchedRun, outcome: Outcome) -> Exception:
    what = outcome.failure
    if isinstance(run.error, Exception):
        error: Exception = run.error
    else:
        error = HandlerFailed(f"{what.error_type}: {what.message}" if what is not None else outcome.kind)
    error.add_note(
        f"raised by handler {run.handler.id!r} for {run.item.name} {run.item.id}, in drain_once(session=...)"
    )
    return error
