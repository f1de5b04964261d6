"""Why a session is being closed: in the normal course of things, or because an exception is on its way.

Who forgets the commit is to be told; whom an exception kept from it knows already. An ``AsyncSession`` closes in a
greenlet, and at the end of ``async with`` in a task of its own: neither sees the exception of the code that closes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any
from weakref import ref

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import await_only, in_greenlet

TaskReference = Callable[[], "asyncio.Task[Any] | None"]

_DEEPEST = 200
_EXIT = AsyncSession.__aexit__.__code__


def no_task() -> None:
    """The reference of those who have no task."""


def this_task() -> TaskReference:
    """A weak reference to the task that runs, if one does."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return no_task
    return no_task if task is None else ref(task)


def closing_exception(session: Session, opened_in: TaskReference) -> BaseException | None:
    """The exception that is being handled where the session is closed right now, if any.

    ``opened_in`` is the task that uses an async session. ``GeneratorExit``, the end of an iteration that was broken
    off, is no such exception: nobody gets to see it.
    """
    error = sys.exception()
    if error is None and in_greenlet():
        error = await_only(_handled())
    if error is None:
        error = _given_to_exit(session, opened_in())
    return None if isinstance(error, GeneratorExit) else error


async def _handled() -> BaseException | None:
    """Awaited by the coroutine that closes, and so beneath what it handles."""
    return sys.exception()


def _given_to_exit(session: Session, task: asyncio.Task[Any] | None) -> BaseException | None:
    """What ``async with`` handed to the session's end: it waits in that task until the session is closed."""
    waiting: Any = task and task.get_coro()
    for _ in range(_DEEPEST):
        frame = getattr(waiting, "cr_frame", None)
        if frame is None:
            waiting = getattr(waiting, "ag_await", None) or getattr(waiting, "gi_yieldfrom", None)
        elif frame.f_code is _EXIT:
            own, _type, error = (frame.f_locals.get(name) for name in _EXIT.co_varnames[:3])
            return error if own is not None and own.sync_session is session else None
        elif type(waiting.cr_await).__name__ == "async_generator_athrow":
            # It does not tell its generator, but a context manager that is made of one does.
            waiting = getattr(frame.f_locals.get("self"), "gen", None)
        else:
            waiting = waiting.cr_await
        if waiting is None:
            return None
    return None
