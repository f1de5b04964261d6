"""What runs for one ``Events`` instance whose events are kept in memory: in place of the services on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from uuid import UUID

from sqlalchemy import Connection

from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.api.operator_port import Health
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.handler_connection import HandlerConnection
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession, handler_session_class
from fastapi_events.engine.handler_transaction import session_options
from fastapi_events.engine.handlers import Handler, HandlerPlan
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.engine.news import News
from fastapi_events.engine.pool_numbers import PoolNumbers
from fastapi_events.engine.scheduler import Scheduler
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import Wake
from fastapi_events.errors import NotOnMemory, SettingsError
from fastapi_events.model.identity import new_id
from fastapi_events.model.lane import AUDIT, LANES, LogPlace
from fastapi_events.model.registry import Registry
from fastapi_events.settings import EventsSettings
from fastapi_events.store.group import HandlerRow, KnownHandler
from fastapi_events.testing.memory.attempts import Attempts, MakePublisher
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.drain import MemoryDrain
from fastapi_events.testing.memory.held_back import settle
from fastapi_events.testing.memory.jobs.schedules import MemorySchedules
from fastapi_events.testing.memory.jobs.stores import MemoryTransactions, memory_stores
from fastapi_events.testing.memory.kept import Kept
from fastapi_events.testing.memory.log import Alone, Row, row_of
from fastapi_events.testing.memory.marks import MemoryMarks
from fastapi_events.testing.memory.observe import MemoryObserve
from fastapi_events.testing.memory.operations import Record, make_operations
from fastapi_events.testing.memory.pools import MemoryPools
from fastapi_events.testing.memory.refusing import refuse

Drain = Literal["running", "standalone", "disabled", "stopped"]

_LONGEST_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the composition root knows of an instance."""

    settings: EventsSettings
    registry: Registry
    plan: HandlerPlan
    broadcast: Collection[Handler]
    group: str
    sessions: Any
    sync_sessions: Any
    publishers: Collection[type[Any]]
    make_publisher: MakePublisher
    drains: bool


class MemoryRuntime:
    """Events on memory for one instance, in one process and on one event loop."""

    def __init__(self, parts: Parts, kept: Kept) -> None:
        self.settings, self.plan, self.kept, self.log = parts.settings, parts.plan, kept, kept.log
        self.partitions, self.channel = parts.settings.partitions, "memory"
        self.drains = parts.drains and parts.settings.enabled
        self.broadcast_handlers = list(parts.broadcast)
        self._news = News()
        self.jobs: JobSide | None = None
        self.worker: UUID = new_id()
        self.wake = Wake([])
        self.pool_numbers = PoolNumbers(MemoryPools(), parts.settings.concurrency)
        self.scheduler: Scheduler | None = None
        self.plan.learn(_known(self.plan), 1)
        self.parts, self.sessions, self.alone = parts, parts.sessions, Alone(kept.log)
        self.transactions = _transactions(parts, kept.marks)
        self.attempts = Attempts(
            parts.settings, parts.registry, kept.marks, publishers=parts.publishers,
            make_publisher=parts.make_publisher, transactions=self.transactions,
            sync_sessions=_sync_sessions(parts.sync_sessions),
        )  # fmt: skip
        lanes = frozenset(int(LANES[name]) for name in parts.settings.lanes)
        self._drain = MemoryDrain(
            kept.log, kept.deliveries, kept.marks, kept.clock, self.plan, self.attempts, self._check,
            lanes=lanes, broadcast=self.broadcast_handlers, read=kept.read, told=self._news.tell,
        )  # fmt: skip
        self.loop = asyncio.get_running_loop()
        self._drain_loop = _DrainLoop(self)
        self.observe: Observe = MemoryObserve(kept.log, kept.deliveries, self.plan, kept.clock, parts.group)
        record = Record(kept.clock)
        schedules = MemorySchedules(kept.runs, kept.schedules, record.add)
        self.stores = memory_stores(kept.runs, kept.log, schedules)
        self.operations: Operations = make_operations(
            kept.log, kept.deliveries, kept.runs, schedules, record, self.plan.handlers.keys(),
            jobs=lambda: parts.registry.jobs, changed=kept.changed, jobs_changed=self._jobs_changed,
        )  # fmt: skip

    @property
    def executor(self) -> Executor:
        """What makes attempts of handlers, with their share of connections and threads."""
        return self.attempts.executor

    @property
    def clock(self) -> Clock:
        """What back-offs, delays and schedules go by."""
        return self.kept.clock

    async def start(self) -> None:
        """Begin to handle events and to run jobs by itself, where that is wanted."""
        self.wake.attach(self.loop)
        self.kept.runs.give_back()
        if self.jobs is not None:
            await self.jobs.register(1)
        self.kept.tell(self._wake)
        if self.drains:
            await self._drain_loop.start()
            if self.jobs is not None:
                await self.jobs.start(works=True)

    async def stop(self) -> None:
        """Handle nothing more; what is kept stays."""
        if self.jobs is not None:
            await self.jobs.stop(self.settings.shutdown_grace)
        await self._drain_loop.stop(self.settings.shutdown_grace)
        await self._drain.stop()
        self.kept.tell(None)
        self.kept.read = self._drain.read
        await self.attempts.close()

    async def drain_once(self) -> int:
        """Handle what is there, and run what is ready, until nothing is due, one after the other.

        Raises ``SettingsError`` on another event loop, and ``NotOnMemory`` for a handler that memory cannot call, after
        everything else has been handled.
        """
        self._check_loop()
        handled, refused = 0, list[NotOnMemory]()
        while True:
            count = await self.handle(refused) + await self.run_jobs()
            handled += count
            if not count:
                break
        if refused:
            raise refused[0]
        return handled

    async def handle(self, refused: list[NotOnMemory] | None = None) -> int:
        """Handle events until none is due; ``refused`` is told of what else would be raised."""
        try:
            return await self._drain.drain()
        except NotOnMemory as error:
            if refused is None:
                raise
            refused.append(error)
            return 0

    async def run_jobs(self) -> int:
        """Run what is ready or due until nothing is, one run after the other; returns the number of attempts."""
        self._check_loop()
        return await self.jobs.drain(at_once=1) if self.jobs is not None else 0

    def hear(self) -> News:
        """Tells of what is committed and handled; raises ``SettingsError`` on another event loop."""
        self._check_loop()
        return self._news

    def published(self, name: str | None, *, after: int) -> list[Row]:
        """What is committed, of this name (None: of any) above a position, and what waits for its time."""
        return self.log.published(name, after=after)

    def health(self) -> Health:
        """How it is doing: a probe of an app on memory is answered."""
        drain: Drain = "disabled" if not self.settings.enabled else "running" if self.drains else "standalone"
        problems = (f"{_DrainLoop.name}: {self._drain_loop.trouble}",) if self._drain_loop.trouble else ()
        return Health("ok", drain, "polling" if self.drains else "off", problems=problems)

    def refuse_services(self) -> NoReturn:
        """Raise ``NotOnMemory`` for whoever asks for the services of PostgreSQL."""
        refuse("events.runtime", "there are no such services without PostgreSQL")

    def committed(self, places: Collection[LogPlace]) -> None:
        """A transaction has been committed."""
        settle()
        self.wake.places(places)

    def lost(self, count: int) -> None:
        """Attempts have come too late to be recorded: somebody has ended their runs."""

    def poll_interval(self) -> float:
        """Seconds between two looks of what runs jobs by itself, while nothing wakes it."""
        return self.settings.poll_interval

    def written_on(self, connection: Connection) -> list[Row]:
        """The events that a connection's open transaction has written to the log, as the drain would read them."""
        now, after = self.kept.clock.now(), len(self.log.events) + 1
        written = [one for one in self.log.written_on(connection) if one.lane != AUDIT]
        return [row_of(envelope, position, now) for position, envelope in enumerate(written, after)]

    def waits(self) -> float:
        """Seconds until something is due by itself."""
        times = [one for one in (self.log.next_due(), self.kept.deliveries.next_time()) if one is not None]
        if not times:
            return _LONGEST_WAIT
        return min(max((min(times) - self.kept.clock.now()).total_seconds(), 0.0), _LONGEST_WAIT)

    def _wake(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._drain_loop.wake.set)
            self.loop.call_soon_threadsafe(self._news.tell)
            self.wake.everything()

    def _jobs_changed(self) -> None:
        """Jobs were paused, or let go on."""
        for known in self.kept.runs.jobs:
            ready = None if self.jobs is None else self.jobs.plan.by_number.get(known.id)
            if ready is not None:
                ready.paused = known.paused
        self.kept.changed()

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self.loop:
            raise SettingsError(
                "This Events instance is started on another event loop, and its handlers run there. In a test with "
                "TestClient, call memory.drain() of `with in_memory(events) as memory:`."
            )

    def _check(self, handler: Handler) -> None:
        wants = handler.signature.wants
        if HandlerConnection in wants:
            refuse(f"handler {handler.id!r}", "it takes a HandlerConnection, which is asyncpg's")
        if SyncHandlerSession in wants and self.parts.sync_sessions is None:
            refuse(
                f"handler {handler.id!r}", "it takes a SyncHandlerSession, and none can be made",
                "Pass in_memory(events, sync_sessions=sessionmaker(engine)).",
            )  # fmt: skip


class _DrainLoop(Loop):
    """Handles events by itself."""

    name = "drain on memory"

    def __init__(self, runtime: MemoryRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self.wake = asyncio.Event()
        self.wake.set()

    def interrupt(self) -> None:
        self.wake.set()

    async def turn(self) -> None:
        try:
            async with asyncio.timeout(self._runtime.waits()):
                await self.wake.wait()
        except TimeoutError:
            pass
        self.wake.clear()
        if not self.stopping.is_set():
            await self._runtime.handle()


def _known(plan: HandlerPlan) -> dict[str, KnownHandler]:
    """The handlers as PostgreSQL would know them after this process alone has registered them."""

    def known(number: int, row: HandlerRow) -> KnownHandler:
        return KnownHandler(number, row.name, row.was, row.selects, row.ordered, row.on_dead, None, False, None)

    return {row.name: known(number, row) for number, row in enumerate(plan.rows(), 1)}


def _transactions(parts: Parts, marks: MemoryMarks) -> MemoryTransactions:
    sessions = parts.sessions
    kind, options = handler_session_class(sessions.class_, HandlerSession), session_options(sessions)
    return MemoryTransactions(lambda: kind(**options), marks)


def _sync_sessions(sessions: Any) -> Callable[[], Any] | None:
    if sessions is None:
        return None
    made = handler_session_class(sessions.class_, SyncHandlerSession)
    return lambda: made(**sessions.kw)
