"""Events that jobs wait for, as far as the code of the jobs shows it: no declaration says so."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from fastapi_events.model.event import Event, options_of
from fastapi_events.model.job import Job

_DEEPEST = 4


def awaited_names(jobs: Iterable[Job[Any, Any]]) -> set[str]:
    """The names of events that functions of jobs, and those that they call by name, name beside a ``wait_for``."""
    found = set[str]()
    for job in jobs:
        function: Any = job.function
        if inspect.isclass(function):
            function = vars(function).get("run")
        found |= set(_of(inspect.unwrap(function), _DEEPEST, set()))
    return found


def _of(function: Any, deep: int, seen: set[Any]) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function in seen or not deep:
        return
    seen.add(function)
    names = set(_names(function.__code__))
    values = list(_values(function, names))
    for value in values:
        if "wait_for" in names and isinstance(value, type) and issubclass(value, Event):
            options = options_of(value)
            if options is not None:
                yield options.name
        yield from _of(value, deep - 1, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _values(function: FunctionType, names: set[str]) -> Iterator[Any]:
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        yield value
        if isinstance(value, ModuleType):
            yield from (vars(value)[one] for one in names & vars(value).keys())
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # nothing was ever put into it
            continue
