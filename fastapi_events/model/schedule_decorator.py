"""What ``Module.every`` returns: to type checkers a function from a job, or a job's own code, to the ``Job``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from fastapi_events.model.job import Job
from fastapi_events.model.job_context import JobContext

Given = TypeVar("Given")
In = TypeVar("In")
Out = TypeVar("Out")
P = ParamSpec("P")


class ScheduleDecorator(Generic[Given]):
    """Declares a schedule of a job whose input is what ``every`` was given, or a union that has it.

    Each kind is there twice: pyright finds no other member in an input that is no union.
    """

    def __init__(self, declare: Callable[[Any], Job[Any, Any]]) -> None:
        self._declare = declare

    @overload
    def __call__(self, job: Job[Given, Out], /) -> Job[Given, Out]: ...

    @overload
    def __call__(self, job: Job[Given | In, Out], /) -> Job[Given | In, Out]: ...

    @overload
    def __call__(
        self, job: Callable[Concatenate[JobContext[Given | In], P], Awaitable[Out]], /
    ) -> Job[Given | In, Out]: ...

    @overload
    def __call__(self, job: Callable[Concatenate[JobContext[Given], P], Awaitable[Out]], /) -> Job[Given, Out]: ...

    @overload
    def __call__(self, job: Callable[Concatenate[JobContext[Given | In], P], Out], /) -> Job[Given | In, Out]: ...

    @overload
    def __call__(self, job: Callable[Concatenate[JobContext[Given], P], Out], /) -> Job[Given, Out]: ...

    def __call__(self, job: Any, /) -> Any:
        """Declare it; raises as ``Module.every``."""
        return self._declare(job)
