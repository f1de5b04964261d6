"""What ``Module.on`` returns for an event class: to type checkers the very function, with its own parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, overload

from fastapi_events.model.event import Event, RawEvent

E = TypeVar("E", bound=Event)
Others = TypeVar("Others", bound=Event | RawEvent)
R = TypeVar("R")
P = ParamSpec("P")


class HandlerDecorator(Protocol[E]):
    """Declares a function of the event, of others too if its parameter is a union.

    The very function is returned, so that one can be declared for several events.
    """

    @overload
    def __call__(
        self, function: Callable[Concatenate[E | Others, P], R], /
    ) -> Callable[Concatenate[E | Others, P], R]: ...

    # Nothing but this event: pyright finds no other one in it, and does not match the first overload.
    @overload
    def __call__(self, function: Callable[Concatenate[E, P], R], /) -> Callable[Concatenate[E, P], R]: ...


class ListHandlerDecorator(Protocol[E]):
    """Declares a function of a list of the event, or of it and others if its elements are a union.

    A parameter that is a ``Sequence`` is as good: a list is given.
    """

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[E | Others], P], R], /
    ) -> Callable[Concatenate[list[E | Others], P], R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[list[E], P], R], /) -> Callable[Concatenate[list[E], P], R]: ...
