"""A function as a step calls it: what it returns, and what it asks for beside the arguments that it is given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fastapi_events.engine.handler_session import HandlerSession
from fastapi_events.engine.injection import Signature, read_further
from fastapi_events.errors import InvalidHandler, InvalidJob
from fastapi_events.model.step_result import StepResult, step_result

_signatures: WeakKeyDictionary[Any, dict[int, Signature]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A function with a number of arguments by position."""

    function: Callable[..., Any]
    signature: Signature
    result: StepResult
    source: str
    """What it is, as steps record it."""

    @property
    def transactional(self) -> bool:
        """Whether its effects and its result commit together."""
        return HandlerSession in self.signature.wants

    @property
    def is_async(self) -> bool:
        """Whether it is awaited; a plain function is called in a thread."""
        return inspect.iscoroutinefunction(_plain(self.function))


def read_step(function: Any, count: int, known: frozenset[type[Any]], *, owner: str) -> StepFunction:
    """Read a step's function; raises ``InvalidJob`` or ``InvalidResult`` for what no step can call, or store."""
    if not callable(function):
        raise InvalidJob(
            f"{owner}: {ascii(function)[:80]} is not a function. Write job.step('id', function, argument)."
        )
    plain = _plain(function)
    signature = _signature_of(function, count, known | {HandlerSession}, owner)
    source = f"{getattr(plain, '__module__', '?')}.{getattr(plain, '__qualname__', type(plain).__qualname__)}"
    read = StepFunction(function, signature, step_result(function, owner=owner), source)
    if read.transactional and not read.is_async:
        raise InvalidJob(
            f"{owner}: {source}() is a def function, which runs in a thread, and takes a HandlerSession, which belongs "
            "to the event loop. Make it async def."
        )
    return read


def _signature_of(function: Any, count: int, known: frozenset[type[Any]], owner: str) -> Signature:
    key = getattr(function, "__func__", function)
    kept = _signatures.setdefault(key, {}) if inspect.isfunction(key) else {}
    found = kept.get(count)
    if found is None:
        try:
            found = kept[count] = read_further(function, count, known, owner=owner)
        except InvalidHandler as error:
            raise InvalidJob(str(error)) from error
    return found


def _plain(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
