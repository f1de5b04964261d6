"""An attempt within the middleware around it: its time, its outcome, and what is shown of both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fastapi_events.engine.outcomes import interrupted
from fastapi_events.engine.run import Run
from fastapi_events.model.context import set_bound, set_flow
from fastapi_events.model.middleware import AttemptContext, AttemptOutcome
from fastapi_events.model.onion import AttemptOnion
from fastapi_events.model.outcome import Outcome


async def observe(run: Run, onion: AttemptOnion, make: Callable[[Run], Awaitable[Outcome]]) -> Outcome:
    """Make an attempt within its middleware. Never raises."""

    async def proceed(_: AttemptContext) -> AttemptOutcome:
        return _shown(await _made(run, make))

    set_flow(run.item)
    set_bound(f"handler {run.handler.id!r}")
    try:
        await onion.call(AttemptContext(**attempt_fields(run), proceed=proceed))
    except BaseException as error:  # noqa: BLE001 - a context that cannot be made keeps nothing from being handled
        if not run.entered and not isinstance(error, asyncio.CancelledError):
            await _made(run, make)
    return run.outcome or interrupted("the process stopped before the handler began")


async def _made(run: Run, make: Callable[[Run], Awaitable[Outcome]]) -> Outcome:
    """Make the attempt and fix its outcome, unless it was given up meanwhile and has one."""
    if run.outcome is not None:  # it was given up before it began, and may be under way elsewhere
        return run.outcome
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    run.entered = True
    if run.handler.queues:
        run.wait()
    else:
        run.start()
    entered = loop.time()
    outcome = await make(run)
    if run.outcome is None:
        run.outcome = replace(outcome, duration=loop.time() - (entered if run.began is None else run.began))
        run.start()  # what middleware does from here on has a time of its own
    elif task is not None:
        loop.call_later(run.handler.timeout, task.cancel)  # it was given up: nobody watches this task any more
    return run.outcome


def attempt_fields(run: Run) -> dict[str, Any]:
    """What the contexts of an attempt and of a call have in common."""
    item = run.item
    return {
        "handler": run.handler.id,
        "name": item.name,
        "version": item.version,
        "event_id": item.id,
        "position": item.position,
        "attempt": run.attempt,
        "redelivered": run.redelivered,
        "correlation_id": item.row["correlation_id"],
        "causation_id": item.row["causation_id"],
        "tenant_id": item.row["tenant_id"],
        "headers": MappingProxyType({**item.headers}),
        "published_at": item.row["published_at"],
    }


def _shown(outcome: Outcome) -> AttemptOutcome:
    return AttemptOutcome(
        kind=outcome.kind,
        reason=outcome.reason,
        note=outcome.note,
        failure=outcome.failure,
        delay=outcome.delay,
        duration=outcome.duration,
    )
