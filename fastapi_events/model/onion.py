"""Folding middleware into one call, once; and ``call_next``, which holds each of them to its contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from fastapi_events.errors import MiddlewareMisuse
from fastapi_events.model.middleware import AttemptContext, AttemptOutcome, HandleContext, Middleware, PublishContext

C = TypeVar("C", bound=PublishContext | AttemptContext)
R = TypeVar("R")
Hook = Callable[[Any, Any], Awaitable[None]]
Chain = Callable[[C], Awaitable[R]]
HookName = Literal["publish", "handle", "attempt"]


@dataclass(frozen=True, slots=True)
class Onion(Generic[C, R]):
    """The middleware of one hook, outermost first, as one call."""

    names: tuple[str, ...]
    call: Chain[C, R]

    def __str__(self) -> str:
        return ", ".join(self.names)


PublishOnion = Onion[PublishContext, UUID]
HandleOnion = Onion[HandleContext, None]
AttemptOnion = Onion[AttemptContext, AttemptOutcome]


def fold(
    middleware: Iterable[Middleware],
    hook: HookName,
    core: Chain[C, R],
    around: Callable[[str, Hook, Chain[C, R]], Chain[C, R]],
) -> Onion[C, R] | None:
    """Wrap those that override ``hook`` around ``core``, the last one first; None if there are none."""
    layers = [(f"{type(one).__qualname__}.{hook}()", getattr(one, hook)) for one in middleware if overrides(one, hook)]
    call = core
    for name, method in reversed(layers):
        call = around(name, method, call)
    return Onion(tuple(name for name, _ in layers), call) if layers else None


def overrides(middleware: Middleware, hook: str) -> bool:
    """Whether a middleware has a method of its own for a hook."""
    own = getattr(type(middleware), hook) is not getattr(Middleware, hook)
    return own or hook in getattr(middleware, "__dict__", {})


def deciding(name: str, hook: Hook, inner: Chain[C, R]) -> Chain[C, R]:
    """A layer whose errors count, and which cannot hide one, nor leave the rest out."""

    async def layer(context: C) -> R:
        step = Step(name, inner, context)
        try:
            await hook(context, step)
            return step.result()
        finally:
            step.close()

    return layer


def publish_onion(middleware: Iterable[Middleware]) -> PublishOnion | None:
    """What is around publishing, down to the sealing of the event."""
    return fold(middleware, "publish", _seal, deciding)


def handle_onion(middleware: Iterable[Middleware]) -> HandleOnion | None:
    """What is around the call of a handler."""
    return fold(middleware, "handle", _proceed, deciding)


async def _seal(context: PublishContext) -> UUID:
    return context.seal(context)


async def _proceed(context: HandleContext) -> None:
    await context.proceed(context)


class Step(Generic[C, R]):
    """``call_next`` of one hook, for one event: what is inside it is run once, and only while the hook runs."""

    __slots__ = ("_context", "_error", "_inner", "_name", "_over", "_results", "called", "closed")

    def __init__(self, name: str, inner: Chain[C, R], context: C) -> None:
        self._name, self._inner, self._context = name, inner, context
        self._error: BaseException | None = None
        self._results: list[R] = []
        self._over: asyncio.Event | None = None
        self.called = self.closed = False

    async def __call__(self, context: C) -> R:
        self._check(context)
        self.called = True
        try:
            result = await self._inner(context)
        except BaseException as error:
            self._error = error
            raise
        else:
            self._results.append(result)
            return result
        finally:
            if self._over is not None:
                self._over.set()

    def _check(self, context: object) -> None:
        if self.closed:
            raise self.misuse("called call_next after it had returned. Await call_next(context) in the method itself.")
        if self.called:
            raise self.misuse(
                "called call_next twice, which would do the work twice. Call it once; retrying is for retry=Retry(...)."
            )
        if type(context) is not type(self._context) or _end_of(context) is not _end_of(self._context):
            raise self.misuse(
                f"gave call_next a {type(context).__qualname__} that is not its own context. Write await "
                "call_next(context), or give it what context.replace(...) returns."
            )

    @property
    def finished(self) -> bool:
        """Whether what is inside has been run to its end."""
        return bool(self._results) or self._error is not None

    def result(self) -> R:
        """What came of it; raises its error, or ``MiddlewareMisuse`` if it has not been run to its end."""
        if self._error is not None:
            raise self._error
        if self._results:
            return self._results[0]
        if self.called:
            raise self.misuse("returned before call_next had finished. Await call_next(context).")
        raise self.misuse(
            "returned without having called call_next, so that nothing was done. Say no by raising: Discard(reason) in "
            "handle(), an error of yours in publish()."
        )

    async def wait(self) -> None:
        """Wait for the end of what was begun."""
        if self.called and not self.finished:
            self._over = asyncio.Event()
            await self._over.wait()

    def close(self) -> None:
        """The hook has returned. (An error that is kept here would keep itself.)"""
        self.closed, self._error = True, None

    def misuse(self, what: str) -> MiddlewareMisuse:
        """The error that says what the hook did."""
        return MiddlewareMisuse(f"middleware {self._name} {what}")


def _end_of(context: Any) -> object:
    """What only the contexts of one event have in common."""
    return context.seal if isinstance(context, PublishContext) else context.proceed
