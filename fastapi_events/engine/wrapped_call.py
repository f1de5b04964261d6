"""The middleware around the call of a handler: on the event loop, also where a thread has the transaction."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any

from fastapi_events.engine.observed_attempt import attempt_fields
from fastapi_events.engine.outcomes import Abandoned
from fastapi_events.engine.run import Run
from fastapi_events.errors import MiddlewareMisuse
from fastapi_events.model.middleware import HandleContext
from fastapi_events.model.onion import HandleOnion

Work = Callable[[], Any]
Caught = tuple[Any, BaseException | None]


async def call_wrapped(run: Run, onion: HandleOnion, event: Any, call: Callable[[Any], Awaitable[Any]]) -> None:
    """Call a handler within its middleware; ``call`` calls it with the event that reaches it."""

    async def proceed(context: HandleContext) -> None:
        if run.abandoned:
            raise Abandoned("the attempt was given up before its middleware called the handler")
        if not isinstance(context.event, type(event)):
            raise MiddlewareMisuse(
                f"handler {run.handler.id!r}: its middleware ({onion}) has put a {type(context.event).__qualname__} in "
                f"place of the {type(event).__qualname__}. Replace an event by one of its own class."
            )
        await call(context.event)

    delivery = run.delivery(event)
    context = HandleContext(
        **attempt_fields(run),
        proceed=proceed,
        event=event,
        session=run.session,
        idempotency_key=delivery.idempotency_key,
        deadline=delivery.deadline,
    )
    await onion.call(context)


class ThreadBridge:
    """Lets the thread that has a transaction run a coroutine on the event loop, which calls back into that thread.

    So everything that uses the transaction is done by one thread, one thing after the other.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: SimpleQueue[Work | None] = SimpleQueue()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._ended: Caught = (None, None)

    def run(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """In the thread: run what ``make`` makes on the loop, in a copy of this context, and serve its calls."""

        def start() -> None:
            self._task = self._loop.create_task(self._drive(make()))
            if self._cancelled:
                self._task.cancel()

        self._loop.call_soon_threadsafe(start)
        while (call := self._next()) is not None:
            call()
        value, error = self._ended
        self._ended = (None, None)
        if error is not None:
            raise error
        return value

    async def call(self, work: Work) -> Caught:
        """On the loop: have the thread do something, in a copy of this context."""
        future: asyncio.Future[Caught] = self._loop.create_future()
        context = contextvars.copy_context()

        def do() -> None:
            result = context.run(caught, work)
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                self._loop.call_soon_threadsafe(_give, future, result)

        self._calls.put(do)
        return await future

    def cancel(self) -> None:
        """On the loop: the attempt was given up; the coroutine is cancelled, and the thread goes on to its end."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    async def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            self._ended = (await coroutine, None)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread
            self._ended = (None, error)
        finally:
            self._calls.put(None)

    def _next(self) -> Work | None:
        while True:
            try:
                return self._calls.get(timeout=1.0)
            except Empty:
                if self._loop.is_closed():
                    raise RuntimeError("the event loop was closed while a handler ran in its thread") from None


def caught(work: Work) -> Caught:
    """Run in a thread; errors come back as values: a future can hold neither StopIteration nor GeneratorExit."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised again on the event loop
        return None, error


def _give(future: asyncio.Future[Caught], result: Caught) -> None:
    if not future.done():
        future.set_result(result)
