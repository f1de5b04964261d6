"""Calling a step within its time, and not leaving it before it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

CLEAN_UP = 5.0
"""Seconds that a step has to end once its time is over: what comes next would run beside it."""


async def within_time(
    work: Coroutine[Any, Any, Any], timeout: float | None, name: str, under_way: set[asyncio.Future[Any]],
    returned: Callable[[], bool] | None = None,
) -> Any:  # fmt: skip
    """What the work comes to; raises ``TimeoutError`` after ``timeout`` seconds, when it has cleaned up.

    Work that ends well in spite of that has been recorded, and counts. Until it has ended it is ``under_way``. What has
    ``returned`` is in time, however long it takes to record that.
    """
    task = asyncio.ensure_future(work)
    under_way.add(task)
    task.add_done_callback(under_way.discard)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if not done and returned is not None and returned():
            done, _ = await asyncio.wait({task})
        elif not done:
            task.cancel()
            await asyncio.wait({task}, timeout=CLEAN_UP)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    finally:
        task.add_done_callback(_forget)
    if done or (task.done() and not task.cancelled() and task.exception() is None):
        return task.result()  # cancelled, if the attempt ends before it
    raise TimeoutError(f"step {name!r} ran longer than its time-out of {timeout:g} s")


async def ended(under_way: set[asyncio.Future[Any]], *, cancel: bool) -> None:
    """Return when no step is under way any more; whoever is cancelled meanwhile cancels them, and is patient once."""
    while under_way:
        try:
            for task in under_way if cancel else ():
                task.cancel()
            await asyncio.wait(set(under_way))
        except asyncio.CancelledError:
            if cancel:
                return
            cancel = True


def _forget(task: asyncio.Future[Any]) -> None:
    """Nobody asks any more what became of it."""
    if not task.cancelled():
        task.exception()
