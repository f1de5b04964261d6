"""An instance as operators use it from outside: readings and actions, with nothing started and nobody registered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_events.api.handler_actions import HandlerOperations
from fastapi_events.api.handler_kinds import HandlerKind, Kinds
from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.api.run_operations import Jobs
from fastapi_events.engine.handlers import Handler
from fastapi_events.errors import SettingsError
from fastapi_events.model.job import Job
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.registry import Registry
from fastapi_events.plugin.assembly import checked_handlers
from fastapi_events.plugin.locating import locate
from fastapi_events.settings import EventsSettings
from fastapi_events.store import schema
from fastapi_events.store.channel import Channel, Hint
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import DeadLetterStore
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import GroupStore
from fastapi_events.store.groups import GroupRemoval
from fastapi_events.store.rebase import check_cluster
from fastapi_events.store.retirement import RetirementStore
from fastapi_events.store.schedule import ScheduleStore
from fastapi_events.store.statements import Statements

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events

logger = logging.getLogger("fastapi_events")


@dataclass(frozen=True, slots=True)
class Operators:
    """What operators need of an application's events.

    ``observe`` reads, ``operations`` redrives and discards, and acts on jobs and runs, ``handlers`` retires.
    """

    observe: Observe
    operations: Operations
    handlers: HandlerOperations


def make_observe(database: Database, settings: EventsSettings, group: str) -> Observe:
    """The readings of a group."""
    return Observe(
        database.url, schema=settings.db_schema, group=group, pgbouncer=settings.pgbouncer,
        history_retention=settings.history_retention or None,
    )  # fmt: skip


def make_operations(
    database: Database, statements: Statements, group_id: Callable[[], int], *, keys_due: Callable[[], None],
    handlers_changed: Callable[[], None], handler_kinds: Kinds, jobs: Jobs,
    runs_told: Callable[[Collection[LogPlace]], None], announce: Callable[[Collection[LogPlace]], None],
) -> Operations:  # fmt: skip
    """The actions on a group's deliveries and handlers, on the schedule, and on groups as a whole.

    ``keys_due`` is called after each that let deliveries be handled, ``handlers_changed`` after a pause, a breaker or a
    replay, ``runs_told`` after a change to runs, ``announce`` where runs are new. ``handler_kinds`` and ``jobs``
    tell of what this process knows.
    """
    return Operations(
        DeadLetterStore(database, statements), GateStore(database, statements), GroupStore(database, statements),
        ScheduleStore(database, statements), GroupRemoval(database, statements), group_id, keys_due=keys_due,
        handlers_changed=handlers_changed, handler_kinds=handler_kinds, jobs=jobs, runs_told=runs_told,
        announce=announce,
    )  # fmt: skip


def kinds_of(events: Events) -> Mapping[str, HandlerKind]:
    """What the application's handlers are, by id; of an instance that was never started too."""
    registry = Registry(events.registry.modules)  # its own is as old as its last start
    handlers = checked_handlers(registry, events.sessions, events.sync_sessions)
    kinds: dict[str, HandlerKind] = {handler.id: _kind(handler) for handler in handlers}
    for trigger in registry.triggers:
        kinds[trigger] = "plain"
    return kinds


def jobs_of(events: Events) -> Mapping[str, Job[Any, Any]]:
    """The application's jobs by name; of an instance that was never started too."""
    return Registry(events.registry.modules).jobs


def _kind(handler: Handler) -> HandlerKind:
    if handler.declaration.broadcast:
        return "broadcast"
    return "transactional" if handler.transactional else "plain"


@contextlib.asynccontextmanager
async def connected(events: Events) -> AsyncGenerator[Operators]:
    """Connect for readings and actions alone."""
    settings = events.settings
    if events.memory is not None:
        raise SettingsError(
            "events.connect() connects to a database, and this instance keeps its events in memory. Start it, and use "
            "events.observe and events.operations."
        )
    async with contextlib.AsyncExitStack() as stack:
        location = await locate(settings, events.sessions, events.sync_sessions)
        stack.push_async_callback(location.leave)
        database = Database(location.url, pgbouncer=settings.pgbouncer)
        stack.push_async_callback(database.close)
        await _check_schema(database, settings)
        await database.open()
        statements = Statements(settings.db_schema)
        groups = GroupStore(database, statements)
        _, installed, identifier, _ = await groups.installation()
        check_cluster(installed, identifier)
        found = await groups.find(events.group)
        number = found if found is not None else 0
        announcer = _Announcer(database, Channel(statements), on=settings.notify != "off")
        stack.push_async_callback(announcer.close)
        observe = make_observe(database, settings, events.group)
        stack.push_async_callback(observe.close)
        retirement, kinds = RetirementStore(database, statements), functools.partial(kinds_of, events)
        yield Operators(
            observe,
            make_operations(
                database,
                statements,
                lambda: number,
                keys_due=announcer.keys_due,
                handlers_changed=announcer.handlers_changed,
                announce=announcer.announce,
                handler_kinds=kinds,
                jobs=functools.partial(jobs_of, events),
                runs_told=announcer.runs,
            ),
            HandlerOperations(retirement, events.group, lambda: number, handler_kinds=kinds),
        )


async def _check_schema(database: Database, settings: EventsSettings) -> None:
    connection = await database.connect()
    try:
        await schema.check(connection, schema=settings.db_schema)
    finally:
        await connection.close()


class _Announcer:
    """Tells the workers that parked keys are due or handlers have changed, so that they need not poll to find out."""

    def __init__(self, database: Database, channel: Channel, *, on: bool) -> None:
        self._database, self._channel, self._on = database, channel, on
        self._tasks: set[asyncio.Task[None]] = set()

    def keys_due(self) -> None:
        self._tell(Hint(keys=True))

    def announce(self, places: Collection[LogPlace]) -> None:
        self._tell(Hint(frozenset(places)))

    def handlers_changed(self) -> None:
        self._tell(Hint(keys=True, handlers=True))

    def runs(self, places: Collection[LogPlace]) -> None:
        self._tell(Hint(places=frozenset(places)))

    def _tell(self, hint: Hint) -> None:
        if self._on:
            self._tasks.add(asyncio.create_task(self._announce(hint)))

    async def close(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _announce(self, hint: Hint) -> None:
        try:
            async with self._database.acquire() as connection:
                await self._channel.notify(connection, hint, timeout=5)
        except Exception as error:  # noqa: BLE001 - what is done is done; polling finds it
            logger.debug("workers were not told of an action: %s", error)
