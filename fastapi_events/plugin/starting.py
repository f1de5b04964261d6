"""Starting an instance on PostgreSQL: from its settings to running services, and what undoes each step."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.engine.immediate import Immediate
from fastapi_events.engine.runtime import Runtime
from fastapi_events.plugin.assembly import assemble, own_sessions, prepare_schema
from fastapi_events.plugin.locating import locate
from fastapi_events.plugin.operating import make_observe, make_operations
from fastapi_events.store.database import Database

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events


@dataclass(frozen=True, slots=True)
class Started:
    """What a started instance has; ``sessions`` makes those that the library opens itself."""

    runtime: Runtime
    observe: Observe
    operations: Operations
    sessions: Any


async def start_services(events: Events, drains: bool | None, stack: contextlib.AsyncExitStack) -> Started:
    """Connect, look after the schema, and start the services; ``stack`` is told how to stop what has begun."""
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
    )  # fmt: skip
    return Started(runtime, observe, operations, sessions)
