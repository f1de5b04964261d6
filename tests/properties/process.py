"""One simulated process: the engine as it is composed, on a loop and connections that the schedule moves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import patch
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import Events, EventsSettings
from fastapi_events.engine import runtime as runtime_module
from fastapi_events.engine.runtime import Runtime
from fastapi_events.engine.service import Loop
from fastapi_events.plugin.assembly import assemble
from fastapi_events.plugin.operating import make_operations
from fastapi_events.store.database import BOOKKEEPING_CONNECTIONS, Database
from fastapi_events.store.statements import Statements
from tests.properties.application import module_for
from tests.properties.connections import GatedConnection, GatedPool
from tests.properties.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from tests.properties.world import World

Wakeable = Literal["events", "keys", "handlers", "everything"]
LEASE, HEARTBEAT, POLL, BUDGET = 100.0, 30.0, 20.0, 50.0


class SimulatedSettings(EventsSettings):
    """Settings of a process that nobody notifies: hints are steps of the schedule."""

    def listener_url(self, database_url: str) -> str | None:
        return None


class GatedDatabase(Database):
    """The library's own connections, each behind the gate."""

    def __init__(self, process: Process) -> None:
        super().__init__("postgresql://simulated/property")
        self._process = process

    async def open(self) -> None:
        if self._pool is None:
            pool: Any = GatedPool(self._process, BOOKKEEPING_CONNECTIONS)
            self._pool = pool

    async def connect(self, url: str | None = None, **settings: str) -> Any:
        raise asyncpg.CannotConnectNowError("a simulated process has bookkeeping connections only")


class Idle(Loop):
    """In place of the upkeep, which has no part in delivery."""

    name = "idle"

    async def turn(self) -> None:
        await self.stopping.wait()


class Process:
    """Something with a memory, a clock and connections of its own: it runs, is frozen, or is dead."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.loop = VirtualLoop()
        self.loop.now = world.now
        self.connections: list[GatedConnection] = []
        self.is_dead = self.is_frozen = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.database = GatedDatabase(self)
        self.transactions_begun: dict[tuple[int, int], float] = {}
        """When the transaction of the newest attempt was asked for, by handler and position."""

    @property
    def can_run(self) -> bool:
        """Whether it does anything now."""
        return not self.is_dead and not self.is_frozen

    def pauses_known(self, handler: int) -> frozenset[str]:
        """The pauses by which this process knows that it is not to call a handler: of its lane, and its own."""
        return frozenset()

    def connect(self, kind: str) -> GatedConnection:
        """A new connection."""
        if self.is_dead:
            raise asyncpg.ConnectionDoesNotExistError("this process is dead")
        return GatedConnection(self, kind)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task; it goes on as the schedule lets it."""
        task = self.loop.create_task(work)
        self.tasks.append(task)
        return task

    def bury(self) -> None:
        """End what its death has left lying, without anybody noticing."""
        self.is_dead = True
        self.loop.halt()
        for _ in range(20):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.settle()
            self.loop.now += 30.0
        self.loop.close()


class Console(Process):
    """Where operators' actions run."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "console")
        self.group = 0
        self.operations = make_operations(
            self.database, Statements(), lambda: self.group, keys_due=_nothing, handlers_changed=_nothing,
            handler_kinds=dict, jobs=dict, runs_told=_told, announce=_told,
        )  # fmt: skip
        self.spawn(self.database.open())
        self.loop.settle()


class Worker(Process):
    """A process that drains."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.runtime: Runtime | None = None
        self.starting: asyncio.Task[Any] | None = None
        self.stopping: asyncio.Task[Any] | None = None
        self._engine = world.ground.engines.take(self)
        self.events = Events(
            [module_for(self)],
            sessions=async_sessionmaker(self._engine.engine, expire_on_commit=False),
            settings=settings_for(world.batch_size),
        )

    async def start(self) -> None:
        """What ``Events.start()`` does, on this process's connections."""
        await self.database.open()
        events = self.events
        self.runtime = await assemble(
            events.settings, events.registry, events.publishing, self.database, group=events.group, drains=True,
            sessions=events.sessions, sync_sessions=None, middleware=(),
        )  # fmt: skip
        with patch.object(runtime_module, "make_maintenance", lambda *_: Idle()):
            await self.runtime.start()

    async def stop(self) -> None:
        """A graceful end."""
        if self.runtime is not None:
            await self.runtime.stop()

    @property
    def is_up(self) -> bool:
        """Whether it has started, and is not about to end."""
        return self.can_run and self.starting is not None and self.starting.done() and self.stopping is None

    @property
    def has_ended(self) -> bool:
        """Whether its graceful end is over, or it could not start."""
        failed = self.starting is not None and self.starting.done() and self.starting.exception() is not None
        return failed or (self.stopping is not None and self.stopping.done())

    def pauses_known(self, handler: int) -> frozenset[str]:
        """The pauses by which this process knows that it is not to call a handler: of its lane, and its own."""
        if self.runtime is None:
            return frozenset()
        gates = self.runtime.gates
        known = {"lane": bool(gates.paused_lanes), "handler": gates.closed.get(handler) == "paused"}
        return frozenset(kind for kind, is_known in known.items() if is_known)

    def wake(self, what: Wakeable) -> None:
        """Tell it, as a notification would, that something may have happened."""
        if self.runtime is not None:
            wake = self.runtime.wake
            {"events": wake.lane, "keys": wake.parked, "handlers": wake.handlers, "everything": wake.everything}[what]()

    def bury(self) -> None:
        self.is_dead = True
        self.loop.halt()
        if self.runtime is not None:
            self.spawn(_quietly(self.runtime.executor.close))
            self.loop.settle()
        super().bury()
        self.world.ground.engines.give_back(self._engine)


class WorkersEngine:
    """SQLAlchemy's engine of one worker after the other: it asks the server about itself only once."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.engine = create_async_engine(
            "postgresql+asyncpg://simulated/property", async_creator=self._connect, pool_size=4, max_overflow=0
        )

    async def _connect(self) -> Any:
        if self.worker is None:
            raise asyncpg.ConnectionDoesNotExistError("no worker has this engine")
        return self.worker.connect("handler")


class Engines:
    """Lends engines to workers."""

    def __init__(self) -> None:
        self._free: list[WorkersEngine] = []

    def take(self, worker: Worker) -> WorkersEngine:
        """One that no other worker has."""
        engine = self._free.pop() if self._free else WorkersEngine()
        engine.worker = worker
        return engine

    def give_back(self, engine: WorkersEngine) -> None:
        """Its worker is dead, and so are its connections."""
        engine.worker = None
        engine.engine.sync_engine.dispose(close=False)
        self._free.append(engine)


@cache
def settings_for(batch_size: int) -> EventsSettings:
    """Settings of every worker: spans so far apart that only the schedule decides what comes first."""
    return SimulatedSettings(
        database_url="postgresql://simulated/property", notify="off", lease=LEASE, heartbeat=HEARTBEAT,
        poll_interval=POLL, poll_interval_degraded=POLL, batch_size=batch_size, lanes=("change",),
        inline_budget=BUDGET, concurrency={"events_change": 4}, handler_connections=4, breaker_threshold=1000,
        shutdown_grace=60.0,
    )  # fmt: skip


def numbered_ids() -> Callable[[], UUID]:
    """Ids in order, in place of ids of time and chance."""
    numbers = itertools.count(1)
    return lambda: UUID(int=(7 << 76) | (2 << 62) | (next(numbers) << 80))


async def _quietly(end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with contextlib.suppress(Exception):
        await end()


def _nothing() -> None:
    return


def _told(places: object) -> None:
    del places
