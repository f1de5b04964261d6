"""Threads for what is written as plain functions."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi_events.engine.outcomes import NoThread
from fastapi_events.engine.slots import Slots
from fastapi_events.engine.wrapped_call import caught


class Threads:
    """So many threads for attempts, and room for some that were given up and keep theirs until they return."""

    def __init__(self, count: int, lanes: Collection[int]) -> None:
        self.free = Slots(count, lanes)
        self._most = count * 4
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="fastapi_events")
        self._busy = 0

    async def run(self, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Call it in a thread, in this context; what it returned, or what it raised. Raises ``NoThread``."""
        if self._busy >= self._most:
            raise NoThread(
                f"all {self._most} threads of this process are held by def functions that have outlived their time-outs"
            )
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def free() -> None:
            self._busy -= 1

        def returned(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(free)

        future = self._pool.submit(context.run, caught, work)
        self._busy += 1
        future.add_done_callback(returned)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more; those that are stuck are left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
