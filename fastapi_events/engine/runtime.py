"""The services of one process: made from settings, started and stopped as one list."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from fastapi_events.engine.broadcasting.making import make_broadcasts
from fastapi_events.engine.broadcasting.reading import Broadcasts
from fastapi_events.engine.counters import Counters
from fastapi_events.engine.detached import Detached
from fastapi_events.engine.drain import LaneDrain
from fastapi_events.engine.drain_rules import DrainRules
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.gates import Gates
from fastapi_events.engine.handlers import Handler, HandlerPlan
from fastapi_events.engine.heartbeat import Heartbeat
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.engine.listener import Listener, WakeUp
from fastapi_events.engine.maintenance import make_maintenance
from fastapi_events.engine.notifier import Notifier
from fastapi_events.engine.pool_numbers import PoolNumbers, lane_pools
from fastapi_events.engine.pruning import Pruner, ages_of
from fastapi_events.engine.redelivery import Redelivery
from fastapi_events.engine.registering import register_worker
from fastapi_events.engine.replaying.making import make_replays
from fastapi_events.engine.replaying.replays import Replays
from fastapi_events.engine.scheduler import Scheduler
from fastapi_events.engine.service import Loop
from fastapi_events.engine.stopping import remove_worker, stop_handling
from fastapi_events.engine.suspects import make_suspects
from fastapi_events.engine.wake import Wake, running_loop
from fastapi_events.model.identity import new_id
from fastapi_events.model.lane import LANES, LogPlace
from fastapi_events.model.schedule import SCHEDULE
from fastapi_events.settings import EventsSettings
from fastapi_events.store.channel import Channel
from fastapi_events.store.cursors import CursorStore
from fastapi_events.store.database import BOOKKEEPING_CONNECTIONS, Database
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import GroupStore, Newest
from fastapi_events.store.log import EventLog
from fastapi_events.store.parked import KeyClaim, ParkedKeyStore
from fastapi_events.store.pools import PoolStore
from fastapi_events.store.schedule import ScheduleStore
from fastapi_events.store.statements import Statements


class Runtime:
    """Everything that runs for one ``Events`` instance in one process."""

    def __init__(
        self, settings: EventsSettings, database: Database, statements: Statements, log: EventLog, plan: HandlerPlan,
        executor: Executor, *, group: str, partitions: int, drains: bool, broadcast: Sequence[Handler] = (),
    ) -> None:  # fmt: skip
        self.settings, self.database, self.statements, self.log = settings, database, statements, log
        self.plan, self.executor, self.group, self.partitions = plan, executor, group, partitions
        self.drains, self.broadcast_handlers = drains, broadcast
        self.worker: UUID = new_id()
        self.group_id = 0
        self.counters = Counters()
        self.lanes: Sequence[int] = sorted(LANES.values())
        self.wake = Wake([*self.lanes, SCHEDULE])
        self._channel = Channel(statements)
        self.store = GroupStore(database, statements)
        self.gate_store = GateStore(database, statements)
        self.gates = Gates(self.gate_store, changed=self.handlers_changed, keys_due=self.keys_due)
        self.pool_numbers = PoolNumbers(PoolStore(database, statements), settings.concurrency)
        self.pruner = Pruner(database, statements, ages_of(settings))
        self.notifier: Notifier | None = None
        self.listener: Listener | None = None
        self.drain_loops: list[LaneDrain] = []
        self.redelivery: Redelivery | None = None
        self.detached: Detached | None = None
        self.scheduler: Scheduler | None = None
        self.replays: Replays | None = None
        self.broadcasts: Broadcasts | None = None
        self.jobs: JobSide | None = None
        self._services: list[Loop] = []
        self._learning = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def channel(self) -> str:
        """The name of the NOTIFY channel of this schema."""
        return self._channel.name

    async def start(self) -> None:
        """Register group, handlers and process, then start the services; returns when LISTEN is in force."""
        self._loop = asyncio.get_running_loop()
        self.wake.attach(self._loop)
        self.group_id = await self.store.register(self.group, self.plan.rows(), self.lanes, self.partitions)
        await self.refresh_plan()
        await self.pool_numbers.read(self.group_id)
        if self.jobs is not None:
            await self.jobs.register(self.group_id)  # triggers start runs as soon as events are handled
        await register_worker(self)
        self._make_services()
        for service in self._services:
            await service.start()
        if self.jobs is not None:
            await self.jobs.start(works=self.settings.enabled and self.drains)
        if self.broadcasts is not None:
            await self.broadcasts.begin()  # also where only drain_once() will read on from here
        if self.listening or self.jobs is not None:
            await register_worker(self)  # else its row said for the first few seconds that it polls, and runs no jobs
        self.wake.everything()

    async def stop(self) -> None:
        """Stop in the reverse order: no new work, running handlers within the grace period, then the rest.

        What fails to stop keeps nothing else from it, and is raised at the end.
        """
        async with contextlib.AsyncExitStack() as steps:  # the last one comes first
            if self.group_id:
                steps.push_async_callback(remove_worker, self.store, self.worker)
            steps.push_async_callback(self.executor.close)
            for service in [service for service in self._services if service not in self.handling]:
                steps.push_async_callback(service.stop)
            steps.push_async_callback(self.gates.end)
            grace = self.settings.shutdown_grace
            steps.push_async_callback(stop_handling, self.handling, self.detached, self.jobs, grace)

    def committed(self, places: Collection[LogPlace]) -> None:
        """Events of these places have been committed by this process: wake its own loops, and tell the others."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        self.wake.places(places)
        if self.notifier is not None and self.settings.notify == "after_commit":
            if running_loop() is loop:
                self.notifier.announce(places)
            else:
                loop.call_soon_threadsafe(self.notifier.announce, set(places))

    def keys_due(self) -> None:
        """Keys that another process may have to take have become due: wake the retry side here and elsewhere."""
        self.wake.parked()
        if self.notifier is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self.notifier.announce_keys)

    async def refresh_plan(self) -> None:
        """Read the group's handlers anew."""
        async with self._learning:  # whoever has read first would else teach last
            known, revision = await self.store.handlers(self.group_id)
            paused = await self.gate_store.paused_lanes(self.group_id)
            self.plan.learn(known, revision)
            self.gates.learn(known.values(), paused, self.plan.by_number)
        if self.replays is not None:
            self.replays.look()

    def handlers_changed(self) -> None:
        """Breakers or pauses of this group have changed: have it noticed here and elsewhere."""
        self.wake.everything()
        if self.notifier is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self.notifier.announce_handlers)

    async def revised(self, newest: Newest) -> None:
        """Which revisions of handlers and of jobs are the newest: read anew what is known here by another one."""
        if newest.handlers != self.plan.revision:
            await self.refresh_plan()
            self.wake.lane()
            self.wake.parked()
        if self.jobs is not None:
            await self.jobs.revised(newest.jobs)
        if await self.pool_numbers.revised(self.group_id, newest.pools):
            await register_worker(self)

    @property
    def handling(self) -> list[Loop]:
        """The loops that call handlers."""
        return [*self.drain_loops, *filter(None, (self.redelivery, self.replays, self.broadcasts))]

    @property
    def listening(self) -> bool:
        """Whether notifications arrive; else polling serves."""
        return self.listener is not None and self.listener.listening.is_set()

    @property
    def wake_up(self) -> WakeUp:
        """How this process learns of events, as its row, readiness and the pages say it."""
        if not self._hears:
            return "off"
        return "listening" if self.listening else "polling"

    @property
    def connections(self) -> int:
        """Upper bound of the connections that this process opens beside the application's own pool."""
        own = BOOKKEEPING_CONNECTIONS + (1 if self.settings.notify == "after_commit" else 0)
        return own + (1 if self._hears and self.settings.listener_url(self.database.url) is not None else 0)

    def _make_services(self) -> None:
        if self.settings.notify == "after_commit":
            self.notifier = Notifier(self.database, self._channel)
            self._services.append(self.notifier)
        self._services.append(
            Heartbeat(
                self.store, self.worker, lease=self.settings.lease, interval=self.settings.heartbeat,
                wake_up=lambda: self.wake_up, claims=self._claims,
                stale=self.counters.new_stale, register=lambda: register_worker(self),
                wake=self.wake, revised=self.revised,
                broadcasts=lambda: (self.counters.broadcast_failures, self.counters.broadcast_skipped),
            )
        )  # fmt: skip
        if self.broadcast_handlers:
            self.broadcasts = make_broadcasts(
                self.broadcast_handlers, self.settings, self.database, self.statements, self.log, self.executor,
                self.wake, partitions=self.partitions, poll_interval=self.poll_interval, committed=self.committed,
                failed=lambda: self.counters.count_broadcasts(failed=1),
                skipped=lambda events: self.counters.count_broadcasts(skipped=events),
            )  # fmt: skip
        if self._hears and (url := self.settings.listener_url(self.database.url)) is not None:
            self.listener = Listener(self.database, self._channel, self.wake, url=url)
            self._services.append(self.listener)
        if self.broadcasts is not None and self.settings.enabled:
            self._services.append(self.broadcasts)
        if self.settings.enabled and self.drains:
            self.make_drains()
            further = (self.redelivery, self.replays, self.scheduler)
            self._services += [*self.drain_loops, *(each for each in further if each is not None)]
            self._services.append(make_maintenance(self.database, self.statements, self.settings, self.pruner))

    def make_drains(self) -> None:
        """Make the drain loops, the retry side and the scheduler without starting them."""
        settings = self.settings
        rules = DrainRules.of(settings, self.partitions)
        parked = ParkedKeyStore(self.database, self.statements, self.log, worker=self.worker, lease=settings.lease)
        self.detached = Detached(parked, self.gates, committed=self.committed, keys_due=self.keys_due, lost=self.lost)
        pools = lane_pools(settings.lanes)
        for lane, pool in sorted((LANES[name], pool) for name, pool in zip(settings.lanes, pools, strict=True)):
            cursors = CursorStore(
                self.database, self.statements, self.log,
                group=self.group_id, lane=lane, partitions=self.partitions, worker=self.worker, lease=settings.lease,
            )  # fmt: skip
            self.drain_loops.append(
                LaneDrain(
                    lane, cursors, self.executor, self.plan, self.wake,
                    replace(rules, concurrency=self.pool_numbers.of(pool)), self.detached, self.gates,
                    refresh_plan=self.refresh_plan, lost=self.lost,
                    poll_interval=self.poll_interval, committed=self.committed, keys_due=self.keys_due,
                )
            )  # fmt: skip
            self.pool_numbers.tell(self.drain_loops[-1], pool)
        self.redelivery = Redelivery(
            parked, self.executor, self.plan, self.wake,
            self.gates, make_suspects(self.database, self.statements, settings, self.plan, self.worker),
            concurrency=self.pool_numbers.of(*pools), poll_interval=self.poll_interval,
            committed=self.committed, keys_due=self.keys_due, lost=self.lost,
        )  # fmt: skip
        self.replays = make_replays(
            settings, self.database, self.statements, self.log, self.executor, self.plan, self.gates, self.drain_loops,
            self.pool_numbers, worker=self.worker, refresh_plan=self.refresh_plan, changed=self.handlers_changed,
            committed=self.committed, keys_due=self.keys_due, lost=self.lost,
        )  # fmt: skip
        self.pool_numbers.tell(self.redelivery, *pools)
        self.scheduler = Scheduler(
            ScheduleStore(self.database, self.statements), self.wake.lanes[SCHEDULE],
            poll_interval=self.poll_interval, committed=self.committed,
        )  # fmt: skip

    def _claims(self) -> list[KeyClaim]:
        """The parked keys that this process works on."""
        redelivered = self.redelivery.claims if self.redelivery is not None else []
        return redelivered + (self.detached.claims if self.detached is not None else [])

    @property
    def _hears(self) -> bool:
        """Whether this process wants to be told of events: it handles some, by itself."""
        return self.settings.enabled and (self.drains or bool(self.broadcast_handlers))

    def poll_interval(self) -> float:
        """Seconds between two looks while nothing wakes this process."""
        return self.settings.poll_interval if self.listening else self.settings.degraded_interval

    def lost(self, count: int) -> None:
        """So much came too late to be recorded."""
        self.counters.stale_settles += count
