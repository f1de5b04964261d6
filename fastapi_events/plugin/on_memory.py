"""An instance whose events are kept in memory: for tests. A process in production never imports this."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from fastapi_events.plugin.assembly import make_plan
from fastapi_events.plugin.job_assembly import make_job_side
from fastapi_events.plugin.publishing import PUBLISHERS
from fastapi_events.testing.memory.kept import Kept
from fastapi_events.testing.memory.refusing import refuse
from fastapi_events.testing.memory.runtime import MemoryRuntime, Parts
from fastapi_events.testing.memory.sqlite import SQLite

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events

logger = logging.getLogger("fastapi_events")


async def start_on_memory(events: Events, drains: bool | None, stack: contextlib.AsyncExitStack) -> MemoryRuntime:
    """Start an instance on memory; ``stack`` is told how to stop it."""
    settings, memory = events.settings, events.memory
    if memory is None:
        logger.warning(
            "EVENTS_DATABASE_URL=memory: events are kept in the memory of this process, where no other sees them, and "
            "are lost when it stops. This is for tests."
        )
    if settings.immediate:
        refuse("immediate=True (EVENTS_IMMEDIATE)", "a commit waits for nothing", "Call drain_once() after it.")
    kept = memory.kept if memory is not None else Kept()
    sessions = (memory.sessions if memory is not None else None) or events.sessions
    sync_sessions = (memory.sync_sessions if memory is not None else None) or events.sync_sessions
    if sessions is None:
        database = SQLite()
        stack.push_async_callback(database.close)
        sessions = database.sessions
    by_itself = settings.worker == "embedded" if memory is None else memory.drains
    # Of sessions nothing is required here: whoever lacks one is refused when an event is meant for it.
    plan, broadcast = make_plan(
        events.registry, settings, sessions=None, sync_sessions=sync_sessions, middleware=events.middleware,
        starting=events.publishing,
    )  # fmt: skip
    parts = Parts(
        settings, events.registry, plan, broadcast, events.group, sessions, sync_sessions, PUBLISHERS,
        events.publishing.for_run, by_itself if drains is None else drains,
    )  # fmt: skip
    runtime = MemoryRuntime(parts, kept)
    runtime.jobs = make_job_side(runtime, events.registry, events.publishing, runtime.transactions, runtime.stores)
    stack.push_async_callback(runtime.stop)
    events.publishing.connect(runtime, None, runtime.alone)
    await runtime.start()
    if memory is not None:
        memory.loop = asyncio.get_running_loop()
    return runtime
