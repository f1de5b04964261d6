"""What ends a process beside its services: the handlers that run, and its row."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from uuid import UUID

from fastapi_events.engine.detached import Detached
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.engine.service import Loop
from fastapi_events.store.group import GroupStore


async def stop_handling(loops: Sequence[Loop], detached: Detached | None, jobs: JobSide | None, grace: float) -> None:
    """Let what runs finish for ``grace`` seconds in all; raises the first error of a loop once all have stopped."""
    now = asyncio.get_running_loop().time
    until = now() + grace
    stopping = [loop.stop(grace) for loop in loops] + ([jobs.stop(grace)] if jobs is not None else [])
    stopped = await asyncio.gather(*stopping, return_exceptions=True)
    if detached is not None:  # after the lanes, whose attempts may be detached until they end
        await detached.stop(max(until - now(), 0.0))
    for problem in stopped:
        if problem is not None:
            raise problem


async def remove_worker(store: GroupStore, worker: UUID) -> None:
    """Say that a process has ended."""
    with contextlib.suppress(Exception):  # its lease runs out by itself
        await store.remove_worker(worker)
