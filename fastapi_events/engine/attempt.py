"""One attempt by itself: with its own time-out, and cut off where the process stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from fastapi_events.engine.attempt_clock import AttemptClock
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.outcomes import given_up, interrupted
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome


async def attempt(executor: Executor, run: Run, cut_off: asyncio.Event) -> Outcome:
    """Make an attempt in a task of its own, and give it up at its time-out or when ``cut_off`` is set. Never raises."""
    loop = asyncio.get_running_loop()
    clock = AttemptClock(run)
    began = loop.time()
    task = asyncio.create_task(executor.run(run))
    cut, over = asyncio.create_task(cut_off.wait()), asyncio.create_task(clock.over())
    waiting: set[asyncio.Task[Any]] = {task, cut, over}
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    cut.cancel()
    over.cancel()
    if task in done:
        if run.outcome is not None:
            return run.outcome
        return replace(task.result(), duration=loop.time() - (began if run.began is None else run.began))
    stopped = interrupted("the process stopped before the handler was done")
    outcome = run.outcome = run.outcome or (stopped if cut in done else given_up(run))
    run.abandon()
    task.cancel()
    return outcome


async def attempt_plain(executor: Executor, run: Run, cut_off: asyncio.Future[None]) -> Outcome:
    """As ``attempt``, for a handler whose time begins at once; done ``cut_off`` gives the attempt up.

    Nothing is made and cancelled for each attempt, which would be garbage that only the cyclic collector finds: with
    some thousand attempts a second its pauses would be felt by everything in the process.
    """
    loop = asyncio.get_running_loop()
    began = run.began = loop.time()
    task = asyncio.create_task(executor.run(run))
    waiting: set[asyncio.Future[Any]] = {task, cut_off}
    await asyncio.wait(waiting, timeout=run.handler.timeout, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return replace(task.result(), duration=loop.time() - began)
    stopped = interrupted("the process stopped before the handler was done")
    outcome = run.outcome = stopped if cut_off.done() else given_up(run)
    run.abandon()
    task.cancel()
    return outcome
