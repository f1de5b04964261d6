"""Starting an instance on PostgreSQL: from its settings to running services, and what undoes each step."""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.engine.immediate import Immediate
from fastapi_events.engine.runtime import Runtime
from fastapi_events.plugin.assembly import assemble, own_sessions, prepare_schema
from fastapi_events.plugin.locating import locate
from fastapi_events.plugin.operating import jobs_of, kinds_of, make_observe, make_operations
from fastapi_events.plugin.pool_names import unknown_pools
from fastapi_events.store.database import Database

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events
    from fastapi_events.testing.memory.runtime import MemoryRuntime


logger = logging.getLogger("fastapi_events")


@dataclass(frozen=True, slots=True)
class Started:
    """What a started instance has; ``sessions`` makes those that the library opens itself."""

    runtime: Runtime | None
    on_memory: MemoryRuntime | None
    observe: Observe
    operations: Operations
    sessions: Any


async def start_services(events: Events, drains: bool | None, stack: contextlib.AsyncExitStack) -> Started:
    """Start the services where the instance keeps its events; ``stack`` is told how to stop what has begun."""
    if drains or (drains is None and events.settings.worker == "embedded"):
        for problem in unknown_pools(events.settings, events.registry.jobs.values()):
            logger.warning("%s", problem)
    if events.memory is None and events.settings.database_url != "memory":
        return await _start_on_postgresql(events, drains, stack)
    from fastapi_events.plugin.on_memory import start_on_memory

    memory = await start_on_memory(events, drains, stack)
    return Started(None, memory, memory.observe, memory.operations, memory.sessions)


async def _start_on_postgresql(events: Events, drains: bool | None, stack: contextlib.AsyncExitStack) -> Started:
    """Connect, look after the schema, and start the services."""
    settings = events.settings
    location = await locate(settings, events.sessions, events.sync_sessions)
    stack.push_async_callback(location.leave)
    database = Database(location.url, pgbouncer=settings.pgbouncer)
    stack.push_async_callback(database.close)
    await prepare_schema(database, location, settings)
    await database.open()
    sessions = events.sessions or own_sessions(database, settings, stack)
    runtime = await assemble(
        settings, events.registry, events.publishing, database,
        group=events.group, drains=drains, sessions=sessions, sync_sessions=events.sync_sessions,
        middleware=events.middleware,
    )  # fmt: skip
    stack.push_async_callback(runtime.stop)
    if settings.immediate:
        events.publishing.wait_with(Immediate(runtime, timeout=settings.immediate_timeout))
        stack.push_async_callback(events.publishing.wait_no_more)
    await runtime.start()
    observe = make_observe(database, settings, events.group)
    stack.push_async_callback(observe.close)
    operations = make_operations(
        database, runtime.statements, lambda: runtime.group_id,
        keys_due=runtime.keys_due, handlers_changed=runtime.handlers_changed,
        handler_kinds=functools.partial(kinds_of, events), jobs=functools.partial(jobs_of, events),
        runs_told=runtime.committed, announce=runtime.committed,
    )  # fmt: skip
    return Started(runtime, None, observe, operations, sessions)
