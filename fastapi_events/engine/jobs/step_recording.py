"""Recording what steps have come to, for as long as it takes: what has been done is not to be done again for a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi_events.engine.infrastructure import is_infrastructure
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.tools import JobTools
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.steps import StepRecord

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds until what could not be recorded is tried again; longer while it stays so."""


async def recorded(run: JobRun, tools: JobTools, step: StepRecord, sealed: Sequence[Sealed] = ()) -> Any | None:
    """The row of a step, once it is recorded; None if the run is not this worker's any more.

    Whoever is cancelled meanwhile leaves it under way (``run.recording``): the attempt may end, and is recorded after.
    """
    task = asyncio.ensure_future(_until_recorded(run, tools, step, sealed))
    run.recording.add(task)
    task.add_done_callback(run.recording.discard)
    task.add_done_callback(_forget)
    await asyncio.wait({task})
    return task.result()


async def _until_recorded(run: JobRun, tools: JobTools, step: StepRecord, sealed: Sequence[Sealed]) -> Any | None:
    try:
        return await tools.record(run.claim, step, None, sealed)
    except Exception as error:
        if not is_infrastructure(error):
            raise
    pause = FIRST_PAUSE
    while True:
        # One that failed at its commit may be recorded all the same: the next try then finds it done, and is refused,
        # so that the run is left, and its next attempt reads the step.
        if not run.abandoned and run.on_heartbeat is not None:
            run.on_heartbeat()  # what this takes is not the job's time
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
        try:
            async with tools.again:
                return await tools.record(run.claim, step, None, sealed)
        except Exception as error:
            if not is_infrastructure(error):
                raise


def _forget(task: asyncio.Future[Any]) -> None:
    """Nobody may be left to ask what became of it."""
    if not task.cancelled():
        task.exception()
