"""What a job asks its context for. All of it is awaited: what is forgotten fails the attempt."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar, cast

from fastapi_events.errors import InvalidJob

P = ParamSpec("P")
R = TypeVar("R")
_EXAMPLES = {
    "step": "'charge', charge, order",
    "sleep": "60",
    "wait_for": "OrderPaid, key='7', timeout=3600",
    "signal": "'approved', Approval",
    "spawn": "ship, Ship(order=7)",
    "gather_children": "child",
    "progress": "1, 10",
    "heartbeat": "",
    "checkpoint": "id='loaded'",
}
_FEW = 8


class Asking(NamedTuple):
    """One thing that was asked for, and what the job has to await."""

    method: str
    first: tuple[Any, ...]
    """Its first argument, if it has one: what a step is called. The others may be large, and are not kept."""
    coroutine: CoroutineType[Any, Any, Any]
    handling: int
    """The ``id`` of the error that the job was handling when it asked: the error itself would keep too much alive."""

    @property
    def waits(self) -> bool:
        """Whether nobody awaits it (yet), nor has given it up on purpose."""
        return inspect.getcoroutinestate(self.coroutine) == inspect.CORO_CREATED

    @property
    def shown(self) -> str:
        """What was called, in short."""
        first = f"{ascii(self.first[0])[:60]}, ..." if self.first else ""
        return f"job.{self.method}({first})"


class Asked:
    """What one attempt has asked for and nobody awaits yet; ``owner`` is what errors name."""

    def __init__(self, owner: str, *, is_async: bool) -> None:
        self.owner, self._is_async = owner, is_async
        self._open: list[Asking] = []
        self._looked_at = _FEW

    def note(self, method: str, arguments: tuple[Any, ...], coroutine: CoroutineType[Any, Any, Any]) -> None:
        """It is to be awaited; raises ``InvalidJob`` where it cannot be, or something before it was forgotten."""
        try:
            self._check(method, arguments)
        except InvalidJob:
            coroutine.close()
            raise
        if len(self._open) > self._looked_at:  # so that any number at the same time costs the same for each
            self._open = [one for one in self._open if one.waits]
            self._looked_at = max(_FEW, 2 * len(self._open))
        self._open.append(Asking(method, arguments[:1], coroutine, id(sys.exception())))

    def check(self) -> None:
        """The job has returned: raise ``InvalidJob`` for what it has asked for and not awaited."""
        left, self._open = [one for one in self._open if one.waits], []
        if not left:
            return
        tasks = {task.get_coro() for task in asyncio.all_tasks()}
        for one in left:
            if one.coroutine not in tasks:  # what a task has goes on, to learn that the job was left
                one.coroutine.close()
        raise self._not_awaited(left[0])

    def cause_of(self, error: BaseException) -> BaseException:
        """What to blame for an error: somebody may have taken what was to be awaited for what comes of it."""
        if isinstance(error, AttributeError):
            for one in self._open:
                if one.coroutine is error.obj and one.waits:
                    blamed = self._not_awaited(one)
                    one.coroutine.close()
                    blamed.__cause__ = error
                    return blamed
        return error

    def _check(self, method: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_async:
            raise InvalidJob(
                f"{self.owner} is a plain function (def), which cannot await job.{method}(...): nothing would be done. "
                "Write async def, and await it; plain functions are fine as steps, which call them in threads."
            )
        last = self._open[-1] if self._open else None
        if last is not None and last.waits and _is_dropped(last):
            last.coroutine.close()  # it is told of here, and Python need not warn of it
            # An error that the job handles now came between asking and awaiting: that is not to have forgotten it.
            if id(sys.exception()) in (id(None), last.handling):
                raise self._not_awaited(last)
        for argument in arguments:
            if inspect.iscoroutine(argument):
                self._check_argument(method, argument)

    def _check_argument(self, method: str, argument: Coroutine[Any, Any, Any]) -> None:
        for one in self._open:
            if one.coroutine is argument:
                argument.close()
                raise InvalidJob(
                    f"{self.owner}: job.{method}(...) is given {one.shown} itself, not what comes of it. Await that "
                    f"first: value = await {one.shown}."
                )

    def _not_awaited(self, what: Asking) -> InvalidJob:
        return InvalidJob(
            f"{self.owner}: {what.shown} was never awaited, so nothing has come of it. Write await {what.shown}: "
            "whatever the context is asked for is awaited before the job goes on without it."
        )


def _is_dropped(one: Asking) -> bool:
    """Whether nobody else has what is to be awaited, so that it never will be.

    Counted by CPython; elsewhere, or without its lock, it is found out when the job returns.
    """
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    return sys.getrefcount(one.coroutine) <= _OF_NOBODY_ELSE


def _count_of_nobody_else() -> int:
    """What is counted for one that nobody else has, asked as above."""

    async def nothing() -> None: ...

    coroutine: Any = nothing()
    one = Asking("", (), coroutine, 0)
    del coroutine
    count = sys.getrefcount(one.coroutine)
    one.coroutine.close()
    return count


_OF_NOBODY_ELSE = _count_of_nobody_else() if sys.implementation.name == "cpython" else 0


class Asks(Protocol):
    """A context, whose methods are asked."""

    asked: Asked


C = TypeVar("C", bound=Asks)


def awaited(
    method: Callable[Concatenate[C, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[C, P], CoroutineType[Any, Any, R]]:
    """Decorate an async method of a context: what it gives has to be awaited, and is called as it is declared."""
    name = method.__name__

    @functools.wraps(method)
    def ask(self: C, /, *args: P.args, **keywords: P.kwargs) -> CoroutineType[Any, Any, R]:
        try:
            coroutine = method(self, *args, **keywords)
        except TypeError as error:  # nothing of it has run: the arguments are not those that it takes
            raise InvalidJob(_called_wrongly(self.asked.owner, method, (self, *args), keywords)) from error
        given = cast("CoroutineType[Any, Any, R]", coroutine)
        self.asked.note(name, args, given)
        return given

    return ask


def _called_wrongly(owner: str, method: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    name, problem = method.__name__, "its arguments are others"
    try:
        inspect.signature(method).bind(*args, **keywords)
    except TypeError as error:
        problem = str(error)
    more = " What fn takes by keyword, bind to it: functools.partial(fn, note=...)." if name == "step" else ""
    return f"{owner}: job.{name}(): {problem}. Write e.g. await job.{name}({_EXAMPLES[name]}).{more}"
