"""``drain_once()``: what a process does by its loops, done once and to the end."""

from __future__ import annotations

from fastapi_events.engine.runtime import Runtime


async def drain_once(runtime: Runtime) -> int:
    """Handle what is there now, in every lane and among what is due; returns the events handled.

    What was paused, resumed or registered before, by whomever, holds: a loop would learn of it a moment later.
    Broadcast handlers are called too, which counts for nothing: most of their events are in a lane.
    """
    if not runtime.drain_loops:
        runtime.make_drains()
    await runtime.revised(await runtime.store.revisions(runtime.group_id))
    handled = 0
    while round_handled := await _round(runtime):
        handled += round_handled
    return handled


async def _round(runtime: Runtime) -> int:
    if runtime.scheduler is not None:
        await runtime.scheduler.move(full=True)
    if runtime.broadcasts is not None:
        await runtime.broadcasts.drain()
    handled = sum([await lane.drain() for lane in runtime.drain_loops])
    if runtime.detached is not None:
        await runtime.detached.drain()
    for further in (runtime.replays, runtime.redelivery):  # a replay that ends may let go of what is live
        handled += await further.drain() if further is not None else 0
    handled += await runtime.jobs.drain() if runtime.jobs is not None else 0
    await runtime.gates.written()
    return handled
