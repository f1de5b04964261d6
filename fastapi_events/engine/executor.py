"""Running one handler on one event: decode, take the mark, call, commit, and turn whatever happens into an outcome."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from fastapi_events.engine.failure import MAX_MESSAGE, failure, failure_of, safe_text
from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
from fastapi_events.engine.handler_transaction import SyncLine, Transaction, Transactions
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.infrastructure import is_infrastructure
from fastapi_events.engine.injection import Needs, fill
from fastapi_events.engine.item import Item, Unreadable
from fastapi_events.errors import DeadLetter, Discard, InvalidHandler, RetryLater
from fastapi_events.model.context import set_bound, set_flow
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.outcome import DONE, Outcome
from fastapi_events.model.registry import Registry
from fastapi_events.store.marks import MarkStore

INTERRUPTED_DELAY = 1.0
"""Seconds until a delivery that the infrastructure interrupted is tried again."""

DUPLICATE = Outcome("duplicate", committed=True)
COMMITTED = Outcome("done", committed=True)


class Run:
    """One attempt. Whoever gives it up sets ``abandoned``: from then on it can commit nothing."""

    __slots__ = (
        "abandoned",
        "attempt",
        "children",
        "connection",
        "driver",
        "handler",
        "item",
        "mark",
        "redelivered",
        "session",
        "transaction",
    )

    def __init__(self, handler: Handler, item: Item, attempt: int = 1, *, redelivered: bool = False) -> None:
        self.handler, self.item, self.attempt, self.redelivered = handler, item, attempt, redelivered
        self.abandoned = False
        self.transaction: Transaction | SyncLine | None = None
        self.session: Any = None
        self.driver: Any = None
        self.connection: HandlerConnection | None = None
        self.mark: UUID | None = None
        self.children: list[Envelope] = []

    def abandon(self) -> None:
        """Give the attempt up; its transaction, if it has one, is torn down so that nobody waits for it."""
        self.abandoned = True
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            transaction.cut()


class Abandoned(Exception):
    """An attempt that was given up came back from its handler."""


class Executor:
    """Runs attempts. ``make_publisher`` gives the publisher of an attempt, bound to its session if it has one."""

    def __init__(
        self,
        registry: Registry,
        marks: MarkStore,
        *,
        transactions: Transactions | None,
        sync_sessions: Callable[[], Any] | None,
        publishers: frozenset[type[Any]],
        make_publisher: Callable[[Run, type[Any]], Any],
        connections: int,
        threads: int,
        cascade_depth: int,
    ) -> None:
        self._registry, self._marks = registry, marks
        self._transactions, self._sync_sessions = transactions, sync_sessions
        self._publishers, self._make_publisher = publishers, make_publisher
        self._connections = asyncio.Semaphore(connections)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fastapi_events")
        self._cascade_depth = cascade_depth

    async def run(self, run: Run) -> Outcome:
        """One attempt, from decoding to commit. Never raises."""
        try:
            event = run.item.event_for(run.handler, self._registry)
            if run.item.row["depth"] > self._cascade_depth:
                return _dead(
                    "cascade_limit", "CascadeLimit", f"more than {self._cascade_depth} events caused each other"
                )
            set_flow(run.item)
            set_bound(f"handler {run.handler.id!r}")
            if run.handler.simple and run.handler.declaration.idempotency_key is None:
                await run.handler.function(event)
                return DONE
            return await self._with_needs(run, event)
        except BaseException as error:  # noqa: BLE001 - SystemExit and friends must not end the loop
            return self._outcome_of(run, error)

    async def close(self) -> None:
        """Give connections back and take no more threads; those that are stuck in a handler are left behind."""
        if self._transactions is not None:
            await self._transactions.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _with_needs(self, run: Run, event: Any) -> Outcome:
        handler = run.handler
        if handler.transactional or handler.declaration.idempotency_key is not None:
            run.mark = run.item.mark(handler, event)
        if run.handler.transactional:
            async with self._connections:
                if run.handler.sync_session:
                    return await self._in_sync_session(run, event)
                return await self._in_session(run, event)
        elif run.mark is not None and await self._marks.find([(handler.number, run.mark)]):
            return Outcome("duplicate")
        await self._call(run, event)
        return Outcome("done", children=tuple(run.children)) if run.children else DONE

    async def _in_session(self, run: Run, event: Any) -> Outcome:
        if self._transactions is None or run.mark is None:
            raise InvalidHandler(f"handler {run.handler.id!r} asks for a session, but none can be made.")
        wants = run.handler.signature.wants
        transaction = run.transaction = await self._transactions.open(session=HandlerSession in wants)
        run.session = transaction.session
        connection: HandlerConnection | None = None
        if HandlerConnection in wants:
            run.driver = transaction.driver
            connection = run.connection = HandlerConnection(transaction.driver)
        problem: BaseException | None = None
        try:
            if not await transaction.begin(run.handler.number, run.mark, run.item.position, run.handler.timeout):
                return DUPLICATE
            await self._call(run, event)
            _check_alive(run)
            if connection is not None:
                connection.check()
                connection.end()
            await transaction.commit()
        except BaseException as error:
            problem = error
            raise
        finally:
            run.transaction = None
            if connection is not None:
                connection.end()
            await transaction.end(problem)
        return COMMITTED

    async def _in_sync_session(self, run: Run, event: Any) -> Outcome:
        if self._sync_sessions is None or run.mark is None:
            raise InvalidHandler(f"handler {run.handler.id!r} asks for a session, but none can be made.")
        session, mark = self._sync_sessions(), run.mark
        run.session = session

        def work(call: Callable[[], Any]) -> Outcome:
            try:
                self._marks.limit_sync(session, run.handler.timeout)
                if not self._marks.take_sync(session, run.handler.number, mark, run.item.position):
                    return DUPLICATE
                run.transaction = SyncLine(session)
                _check_alive(run)
                call()
                _check_alive(run)
                session.flush()
                self._marks.probe_sync(session)
                Session.commit(session)
                return COMMITTED
            finally:
                run.transaction = None
                Session.close(session)

        outcome: Outcome = await self._call(run, event, around=work)
        return outcome

    async def _call(self, run: Run, event: Any, around: Callable[[Callable[[], Any]], Any] | None = None) -> Any:
        handler = run.handler
        if handler.direct:
            values = self._values(run, event)
            return await handler.function(event, **{name: values[kind] for name, kind in handler.direct})
        async with AsyncExitStack() as stack:
            arguments = await fill(handler.signature, Needs(self._values(run, event), stack))
            if handler.is_async:
                return await handler.function(event, **arguments)
            call = functools.partial(handler.function, event, **arguments)
            work = functools.partial(around, call) if around else call
            context = contextvars.copy_context()
            value, error = await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: context.run(_caught, work)
            )
            if error is not None:
                raise error
            return value

    def _values(self, run: Run, event: Any) -> dict[type[Any], Any]:
        wants = run.handler.signature.wants
        values: dict[type[Any], Any] = {}
        if HandlerSession in wants:
            values[HandlerSession] = run.session
        if HandlerConnection in wants:
            values[HandlerConnection] = run.connection
        if SyncHandlerSession in wants:
            values[SyncHandlerSession] = run.session
        if Delivery in wants:
            values[Delivery] = run.item.delivery(run.handler, event, run.attempt, redelivered=run.redelivered)
        for kind in self._publishers & wants:
            values[kind] = self._make_publisher(run, kind)
        return values

    def _outcome_of(self, run: Run, error: BaseException) -> Outcome:
        if isinstance(error, Unreadable):
            return Outcome("dead", reason=error.reason, failure=error.failure)
        if isinstance(error, Discard):
            return Outcome("discarded", note=safe_text(str(error.reason), MAX_MESSAGE))
        if isinstance(error, DeadLetter):
            return _dead("rejected_by_handler", "DeadLetter", str(error.reason))
        if isinstance(error, RetryLater):
            return _postponed(run, error)
        if is_infrastructure(error):
            return Outcome("interrupted", delay=INTERRUPTED_DELAY, failure=failure_of(error))
        return failed(run, error)


def failed(run: Run, error: BaseException) -> Outcome:
    """The outcome of an attempt that failed by ``error``, by the handler's retry policy."""
    policy, what = run.handler.retry, failure_of(error)
    if not policy.permits(error if isinstance(error, Exception) else Exception()):
        return Outcome("dead", reason="gave_up", failure=what)
    if run.attempt >= policy.max_attempts:
        return Outcome("dead", reason="max_attempts", failure=what)
    return Outcome("retry", delay=policy.backoff.delay(run.attempt), failure=what)


def timed_out(run: Run) -> Outcome:
    """The outcome of an attempt that was given up at its time-out."""
    policy, limit = run.handler.retry, run.handler.timeout
    what = failure("TimeoutError", f"the handler ran longer than its time-out of {limit:g} s")
    if run.attempt >= policy.max_attempts or not policy.permits(TimeoutError()):
        return Outcome("dead", reason="timed_out", failure=what, duration=limit)
    return Outcome("retry", delay=policy.backoff.delay(run.attempt), failure=what, duration=limit)


def interrupted(what: str) -> Outcome:
    """The outcome of an attempt that ended because this process stops."""
    return Outcome("interrupted", failure=failure("Interrupted", what))


def _postponed(run: Run, error: RetryLater) -> Outcome:
    age = (datetime.now(UTC) - run.item.row["published_at"]).total_seconds()
    if age + error.delay > error.max_age:
        return _dead("max_attempts", "RetryLater", f"postponed for longer than its max_age of {error.max_age:g} s")
    return Outcome("postponed", delay=max(error.delay, 0.0), failure=failure("RetryLater", str(error)))


def _dead(reason: Any, error_type: str, message: str) -> Outcome:
    return Outcome("dead", reason=reason, failure=failure(error_type, message))


def _caught(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Run in a thread; errors come back as values: a future can hold neither StopIteration nor GeneratorExit."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised again on the event loop
        return None, error


def _check_alive(run: Run) -> None:
    if run.abandoned:
        raise Abandoned("the attempt had been given up at its time-out")
