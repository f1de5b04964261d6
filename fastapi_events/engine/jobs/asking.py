"""What a job asks its context for. All of it is awaited: what is forgotten fails the attempt."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType, TracebackType
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar, cast

from fastapi_events.errors import InvalidJob

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
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


class Asked:
    """What one attempt has asked for and nobody awaits yet; ``owner`` is what errors name."""

    def __init__(self, owner: str, *, is_async: bool) -> None:
        self.owner, self._is_async = owner, is_async
        self._waiting: dict[int, str] = {}
        self._forgotten: str | None = None

    def ask(self, method: str, arguments: tuple[Any, ...], coroutine: Coroutine[Any, Any, R]) -> Asking[R]:
        """What is to be awaited; raises ``InvalidJob`` where it cannot be, or something before it was forgotten."""
        try:
            self._check(method, arguments)
        except InvalidJob:
            coroutine.close()
            raise
        asking = Asking(self, coroutine)
        self._waiting[id(asking)] = f"job.{method}({ascii(arguments[0])[:60]}, ...)" if arguments else f"job.{method}()"
        return asking

    def check(self) -> None:
        """The job has returned: raise ``InvalidJob`` for what it has asked for and not awaited."""
        if self._forgotten is not None or self._waiting:
            self._not_awaited(self._forgotten or next(iter(self._waiting.values())))

    def begins(self, asking: Asking[Any]) -> str | None:
        """It is awaited now, or given up on purpose."""
        return self._waiting.pop(id(asking), None)

    def forget(self, asking: Asking[Any]) -> bool:
        """It is gone; says whether nobody had ever awaited it."""
        what = self.begins(asking)
        self._forgotten = self._forgotten or what
        return what is not None

    def name_of(self, asking: Asking[Any]) -> str:
        """What it was called with, in words."""
        return self._waiting.get(id(asking), "it")

    def _check(self, method: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_async:
            raise InvalidJob(
                f"{self.owner} is a plain function (def), which cannot await job.{method}(...): nothing would be done. "
                "Write async def, and await it; plain functions are fine as steps, which call them in threads."
            )
        if self._forgotten is not None:
            self._not_awaited(self._forgotten)
        for argument in arguments:
            if isinstance(argument, Asking):
                raise InvalidJob(
                    f"{self.owner}: job.{method}(...) is given {argument} itself, not what comes of it. Await that "
                    "first: value = await job.step(...)."
                )

    def _not_awaited(self, what: str) -> NoReturn:
        raise InvalidJob(
            f"{self.owner}: {what} was never awaited, so nothing has come of it. Write await {what}: whatever the "
            "context is asked for is awaited before the job goes on without it."
        )


class Asking(Coroutine[Any, Any, R_co]):
    """A coroutine that tells when it goes without ever having been awaited."""

    __slots__ = ("__weakref__", "_asked", "_coroutine")

    def __init__(self, asked: Asked, coroutine: Coroutine[Any, Any, R_co]) -> None:
        self._asked, self._coroutine = asked, coroutine

    def __await__(self) -> Generator[Any, Any, R_co]:
        self._asked.begins(self)
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """As of any coroutine: a task awaits so."""
        self._asked.begins(self)
        return self._coroutine.send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        """As of any coroutine: a task that is cancelled before it begins ends so."""
        self._asked.begins(self)
        error: Any = typ if val is None else val
        return self._coroutine.throw(error if tb is None else error.with_traceback(tb))

    def close(self) -> None:
        """As of any coroutine: it was given up on purpose."""
        self._asked.begins(self)
        self._coroutine.close()

    def __del__(self) -> None:
        if self._asked.forget(self):
            self._coroutine.close()

    def __str__(self) -> str:
        return self._asked.name_of(self)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self._asked.owner}: {self} was not awaited, so that there is no {name!r} of its result. Write await "
            f"{self}."
        )


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
        # To checkers what an async method gives, which it is to whoever awaits it.
        return cast("CoroutineType[Any, Any, R]", self.asked.ask(name, args, coroutine))

    return ask


def _called_wrongly(owner: str, method: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    name, problem = method.__name__, "its arguments are others"
    try:
        inspect.signature(method).bind(*args, **keywords)
    except TypeError as error:
        problem = str(error)
    more = " What fn takes by keyword, bind to it: functools.partial(fn, note=...)." if name == "step" else ""
    return f"{owner}: job.{name}(): {problem}. Write e.g. await job.{name}({_EXAMPLES[name]}).{more}"
