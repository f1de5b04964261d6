"""What ``Module.job`` returns: to type checkers a function from a job's own code to the ``Job`` that it becomes.

mypy leaves what a decorator makes of a class alone: a class is declared by ``restock = inventory.job()(Restocking)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from fastapi_events.model.job import Job
from fastapi_events.model.job_context import JobContext

In = TypeVar("In")
In_contra = TypeVar("In_contra", contravariant=True)
Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)
Made = TypeVar("Made")
P = ParamSpec("P")


class AsyncJob(Protocol[In_contra, P, Out_co]):
    """An object of a job's class: it has an async ``run``."""

    def run(self, job: JobContext[In_contra], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[Out_co]:
        """One attempt."""
        ...


class SyncJob(Protocol[In_contra, P, Out_co]):
    """An object of a job's class: it has a plain ``run``, which is called in a thread."""

    def run(self, job: JobContext[In_contra], /, *args: P.args, **kwargs: P.kwargs) -> Out_co:
        """One attempt."""
        ...


class JobDecorator:
    """Declares a job: a function, async or plain, or a class with ``run`` that is made without arguments."""

    def __init__(self, declare: Callable[[Any], Job[Any, Any]]) -> None:
        self._declare = declare

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[In], P], Awaitable[Out]], /) -> Job[In, Out]: ...

    @overload
    def __call__(self, function: Callable[[], AsyncJob[In, P, Out]], /) -> Job[In, Out]: ...

    @overload
    def __call__(self, function: Callable[[], SyncJob[In, P, Out]], /) -> Job[In, Out]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[In], P], Out], /) -> Job[In, Out]: ...

    def __call__(self, function: Any, /) -> Any:
        """Declare it; raises as ``Module.job``."""
        return self._declare(function)


class TriggeredJobDecorator(Generic[Made]):
    """Declares a job whose input is what its triggers make, or a union that has it.

    Each kind is there twice: pyright finds no other member in an input that is no union.
    """

    def __init__(self, declare: Callable[[Any], Job[Any, Any]]) -> None:
        self._declare = declare

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext[Made | In], P], Awaitable[Out]], /
    ) -> Job[Made | In, Out]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[Made], P], Awaitable[Out]], /) -> Job[Made, Out]: ...

    @overload
    def __call__(self, function: Callable[[], AsyncJob[Made | In, P, Out]], /) -> Job[Made | In, Out]: ...

    @overload
    def __call__(self, function: Callable[[], AsyncJob[Made, P, Out]], /) -> Job[Made, Out]: ...

    @overload
    def __call__(self, function: Callable[[], SyncJob[Made | In, P, Out]], /) -> Job[Made | In, Out]: ...

    @overload
    def __call__(self, function: Callable[[], SyncJob[Made, P, Out]], /) -> Job[Made, Out]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[Made | In], P], Out], /) -> Job[Made | In, Out]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[Made], P], Out], /) -> Job[Made, Out]: ...

    def __call__(self, function: Any, /) -> Any:
        """Declare it; raises as ``Module.job``."""
        return self._declare(function)
