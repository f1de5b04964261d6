"""What a process says of itself when it enters the table of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_events.engine.broadcasting.making import facts_of
from fastapi_events.engine.pool_numbers import REPLAYS, lane_pools
from fastapi_events.engine.release import process_facts
from fastapi_events.model.lane import LANES

if TYPE_CHECKING:
    from fastapi_events.engine.runtime import Runtime


async def register_worker(runtime: Runtime) -> None:
    """Enter the process, or what has changed of it since."""
    settings, jobs = runtime.settings, runtime.jobs
    handles = runtime.drains and settings.enabled
    await runtime.store.register_worker(
        runtime.worker, runtime.group_id, drains=handles, handlers=runtime.plan.numbers,
        connections=runtime.connections, lease=settings.lease, wake_up=runtime.wake_up,
        lanes=[LANES[name] for name in settings.lanes] if handles else [],
        broadcasts=facts_of(runtime.broadcast_handlers) if settings.enabled else [],
        pools=_numbers_of_lanes(runtime) | (jobs.concurrency if jobs is not None else {}),
        jobs=jobs.runs if jobs is not None else [],
        **process_facts(),
    )  # fmt: skip


def _numbers_of_lanes(runtime: Runtime) -> dict[str, int]:
    """How many handlers it has at work at once, by the reserved pools."""
    if not (runtime.drains and runtime.settings.enabled):
        return {}
    return {pool: runtime.pool_numbers.of(pool) for pool in [*lane_pools(runtime.settings.lanes), REPLAYS]}
