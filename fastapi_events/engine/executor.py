"""Running one handler on one event: decode, take the mark, call, commit, and turn whatever happens into an outcome."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
from fastapi_events.engine.handler_transaction import SyncLine, Transaction, Transactions, connect
from fastapi_events.engine.injection import DELIVERIES, Needs, fill
from fastapi_events.engine.item_list import ItemList
from fastapi_events.engine.observed_attempt import observe
from fastapi_events.engine.outcomes import Abandoned, cascade_limit, outcome_of, superseded
from fastapi_events.engine.run import Run
from fastapi_events.engine.secrecy import discreet
from fastapi_events.engine.slots import Slots
from fastapi_events.engine.threads import Threads
from fastapi_events.engine.wrapped_call import ThreadBridge, call_wrapped
from fastapi_events.errors import InvalidHandler
from fastapi_events.model.context import set_bound, set_flow
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.onion import HandleOnion
from fastapi_events.model.outcome import DONE, Outcome
from fastapi_events.model.registry import Registry
from fastapi_events.store.marks import Marks

Around = Callable[[Callable[[], Any]], Any]
InThread = Callable[[Callable[[], Any]], Awaitable[tuple[Any, BaseException | None]]]

DUPLICATE = Outcome("duplicate", committed=True)
COMMITTED = Outcome("done", committed=True)


class Executor:
    """Runs attempts. ``make_publisher`` gives the publisher of an attempt, bound to its session if it has one."""

    def __init__(
        self,
        registry: Registry,
        marks: Marks,
        *,
        transactions: Transactions | None,
        sync_sessions: Callable[[], Any] | None,
        publishers: frozenset[type[Any]],
        make_publisher: Callable[[Run, type[Any]], Any],
        connections: int,
        threads: int,
        lanes: Collection[int],
        cascade_depth: int,
    ) -> None:
        self._registry, self._marks = registry, marks
        self._transactions, self._sync_sessions = transactions, sync_sessions
        self._publishers, self._make_publisher = publishers, make_publisher
        self.connections, self.threads = Slots(connections, lanes), Threads(threads, lanes)
        self._cascade_depth = cascade_depth

    async def run(self, run: Run) -> Outcome:
        """One attempt, from decoding to commit. Never raises."""
        if run.handler.outside is not None and not run.entered:
            return await observe(run, run.handler.outside, self.run)
        try:
            event = run.item.event_for(run.handler, self._registry)
            if run.item.row["depth"] > self._cascade_depth:
                return cascade_limit(self._cascade_depth)
            set_flow(run.item)
            set_bound(f"handler {run.handler.id!r}")
            if run.handler.simple and run.handler.declaration.idempotency_key is None:
                await run.handler.function(event)
                return DONE
            return await self._with_needs(run, event)
        except BaseException as error:  # noqa: BLE001 - SystemExit and friends must not end the loop
            run.caught(error)
            return discreet(outcome_of(run, error), run, self._registry)
        finally:
            run.release()

    async def close(self) -> None:
        """Give connections back and take no more threads; those that are stuck in a handler are left behind."""
        if self._transactions is not None:
            await self._transactions.close()
        self.threads.close()

    async def _with_needs(self, run: Run, event: Any) -> Outcome:
        handler = run.handler
        if handler.transactional or handler.declaration.idempotency_key is not None:
            run.mark = run.item.mark(handler, event)
        if handler.queues:
            if not handler.is_async:
                run.slots.append(await self.threads.free.take(run.item.lane))
            if handler.transactional:
                run.slots.append(await self.connections.take(run.item.lane))
            run.start()
        if handler.transactional:
            return await (self._in_sync_session(run, event) if handler.sync_session else self._in_session(run, event))
        if run.mark is not None and await self._is_done(run, run.mark):
            return Outcome("duplicate")
        await self._call(run, event)
        if run.skipped is not None:
            return Outcome("done", note=run.skipped)
        return Outcome("done", children=tuple(run.children)) if run.children else DONE

    async def _is_done(self, run: Run, mark: UUID) -> bool:
        """Whether the event has been handled before; of a list, what has been is left out."""
        number, item = run.handler.number, run.item
        if not isinstance(item, ItemList) or not item.many:
            return bool(await self._marks.find([(number, mark)], run.replay))
        keys = {key for key, _ in item.marks(run.handler)}
        found = await self._marks.find([(number, key) for key in keys], run.replay)
        return not item.keep(run.handler, keys - {key for _, key in found})

    async def _begin(self, run: Run, transaction: Transaction, mark: UUID) -> Outcome | None:
        """Take the right to apply the effects; the outcome, if that is not to be had."""
        handler, item = run.handler, run.item
        if not isinstance(item, ItemList) or not item.many:
            if await transaction.begin(handler.number, mark, item.position, handler.timeout, run.replay):
                return None
            return await self._refused(run, mark)
        marks = item.marks(handler)
        taken = await transaction.begin_list(handler.number, marks, handler.timeout, run.replay)
        refused = await self._refused(run, *({key for key, _ in marks} - set(taken)))
        return None if refused is DUPLICATE and item.keep(handler, taken) else refused

    async def _in_session(self, run: Run, event: Any) -> Outcome:
        if self._transactions is None or run.mark is None:
            raise InvalidHandler(f"handler {run.handler.id!r} asks for a session, but none can be made.")
        wants = run.handler.signature.wants
        transaction = run.transaction = await self._transactions.open(session=HandlerSession in wants)
        run.session = transaction.session
        if run.session is not None:
            run.session.sync_session.delivery = (run, self._make_publisher)
        connection: HandlerConnection | None = None
        if HandlerConnection in wants:
            run.driver = transaction.driver
            connection = run.connection = HandlerConnection(transaction.driver)
        problem: BaseException | None = None
        try:
            run.beginning = True
            if (refused := await self._begin(run, transaction, run.mark)) is not None:
                return refused
            run.beginning = False
            await self._call(run, event)
            _check_alive(run)
            if run.skipped is not None:
                return Outcome("done", note=run.skipped)  # nothing was done; the mark is left with the record of it
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
        session.delivery = (run, self._make_publisher)

        def work(call: Callable[[], Any]) -> Outcome:
            try:
                run.beginning = True
                connect(session)
                self._marks.limit_sync(session, run.handler.timeout)
                if not self._marks.take_sync(session, run.handler.number, mark, run.item.position, run.replay):
                    return DUPLICATE
                run.beginning = False
                line = run.transaction = SyncLine(session, self._marks)
                _check_alive(run)
                call()
                _check_alive(run)
                line.commit()
                return COMMITTED
            finally:
                run.transaction = None
                session.end_delivery()

        outcome: Outcome = await self._call(run, event, around=work)
        return await self._refused(run, mark) if outcome is DUPLICATE else outcome

    async def _refused(self, run: Run, *marks: UUID) -> Outcome:
        """What it means that marks could not be taken: the effects are there, or of one of them must not be."""
        for mark in marks:
            if await self._marks.is_buried(run.handler.number, mark, run.replay):
                return superseded()
        return DUPLICATE

    async def _call(self, run: Run, event: Any, around: Around | None = None, in_thread: InThread | None = None) -> Any:
        handler = run.handler
        if handler.direct:
            values = self._values(run, event)
            return await handler.function(event, **{name: values[kind] for name, kind in handler.direct})
        if handler.inside is not None and in_thread is None:
            return await self._call_wrapped(run, handler.inside, event, around)
        async with AsyncExitStack() as stack:
            arguments = await fill(handler.signature, Needs(self._values(run, event), stack))
            if handler.is_async:
                return await handler.function(event, **arguments)
            call = functools.partial(handler.function, event, **arguments)
            work = functools.partial(around, call) if around else call
            value, error = await (in_thread or self.threads.run)(work)
            if error is not None:
                raise error
            return value

    async def _call_wrapped(self, run: Run, onion: HandleOnion, event: Any, around: Around | None) -> Any:
        if around is None:
            call = functools.partial(self._call, run, in_thread=self.threads.run)
            return await call_wrapped(run, onion, event, call)
        # The thread that has the transaction waits for the middleware, and calls the handler when that goes on.
        bridge = ThreadBridge(asyncio.get_running_loop())
        call = functools.partial(self._call, run, in_thread=bridge.call)
        within = functools.partial(bridge.run, functools.partial(call_wrapped, run, onion, event, call))
        try:
            value, error = await self.threads.run(functools.partial(around, within))
        except asyncio.CancelledError:
            bridge.cancel()
            raise
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
            values[Delivery] = run.delivery(event)
        if DELIVERIES in wants and isinstance(run.item, ItemList):
            values[DELIVERIES] = run.item.deliveries(
                run.handler, run.attempt, redelivered=run.redelivered, replay=run.replay
            )
        if Run in wants:
            values[Run] = run
        for kind in self._publishers & wants:
            values[kind] = self._make_publisher(run, kind)
        return values


def _check_alive(run: Run) -> None:
    if run.abandoned:
        raise Abandoned("the attempt had been given up at its time-out")
