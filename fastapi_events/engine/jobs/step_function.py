"""A function as a step calls it: what it returns, and what it asks for beside the arguments that it is given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from fastapi_events.engine.handler_session import HandlerSession
from fastapi_events.engine.injection import Signature, read_parameters
from fastapi_events.errors import InvalidHandler, InvalidJob


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A function, read once."""

    function: Callable[..., Any]
    signature: Signature
    adapter: TypeAdapter[Any]
    is_async: bool
    source: str

    @property
    def wants(self) -> frozenset[type[Any]]:
        """The types that it asks for."""
        return self.signature.wants

    @property
    def transactional(self) -> bool:
        """Whether its effects and its result commit together."""
        return HandlerSession in self.signature.wants


_read: dict[Any, StepFunction] = {}


def read_step(function: Any, givers: frozenset[type[Any]], *, owner: str) -> StepFunction:
    """Read a step's function; raises ``InvalidJob`` for what no step can call."""
    known = _read.get(function) if _is_kept(function) else None
    if known is not None:
        return known
    if not callable(function):
        raise InvalidJob(f"{owner}: {ascii(function)[:80]} is not a function. Write job.step('id', function, argument).")
    plain = _plain(function)
    try:
        # What is given by position has no say: only the rest is looked at, and of it what the library can give.
        signature = read_parameters(function, givers | {HandlerSession}, owner=owner)
    except InvalidHandler as error:
        raise InvalidJob(str(error)) from error
    step = StepFunction(
        function, signature, TypeAdapter(_returns(plain)), inspect.iscoroutinefunction(plain),
        getattr(plain, "__qualname__", type(plain).__qualname__),
    )  # fmt: skip
    if _is_kept(function):
        _read[function] = step
    return step


def _is_kept(function: Any) -> bool:
    """Whether the function outlives the attempt: one made inside it does not, and would be kept for ever."""
    return inspect.isfunction(function) and "<locals>" not in function.__qualname__


def _plain(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def _returns(function: Any) -> Any:
    try:
        returns = get_type_hints(function, include_extras=True).get("return", Any)
    except (NameError, TypeError):
        return Any
    return get_args(returns)[-1] if get_origin(returns) in (Awaitable, Coroutine) else returns
