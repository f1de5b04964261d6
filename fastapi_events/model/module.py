"""Modules: a feature's handlers, declared where the feature lives and assembled into an application."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from fastapi_events.errors import ContradictoryOptions, DeclarationError, InvalidHandler
from fastapi_events.model.event import Event, RawEvent, options_of
from fastapi_events.model.names import canonical_name, check_pattern, is_pattern, matches
from fastapi_events.model.retry import Retry

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Callable[Concatenate[Any, ...], Any])
Others = TypeVar("Others", bound=Event | RawEvent)
R = TypeVar("R")
P = ParamSpec("P")
_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_HANDLER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")


@dataclass(frozen=True, slots=True, eq=False)
class HandlerDeclaration:
    """A handler as declared: which events it selects, and how it is to be run."""

    id: str
    module: str
    function: Callable[..., Any]
    selects: str
    event_class: type[Event] | None
    retry: Retry | None = None
    timeout: float | None = None
    idempotency_key: Callable[[Any], str] | None = None
    ordered: bool = True
    on_dead: Literal["park", "continue"] = "park"
    was: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Whether the handler selects events of this name."""
        return matches(self.selects, name)

    @property
    def where(self) -> str:
        """File and line of the function, for people."""
        code = getattr(self.function, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)


class HandlerDecorator(Protocol[E]):
    """What ``on`` returns for a class: declares a function of that event, of others too if its parameter is a union.

    The very function is returned, so that one can be declared for several events.
    """

    @overload
    def __call__(
        self, function: Callable[Concatenate[E | Others, P], R], /
    ) -> Callable[Concatenate[E | Others, P], R]: ...

    # Nothing but this event: pyright finds no other one in it, and does not match the first overload.
    @overload
    def __call__(self, function: Callable[Concatenate[E, P], R], /) -> Callable[Concatenate[E, P], R]: ...


class Module:
    """A feature's handlers, grouped under a name as an ``APIRouter`` groups routes.

    ``name`` is lower-case letters, digits and underscores. Modules are put together by
    ``Events(modules=[...])``; until then nothing runs.
    """

    def __init__(self, name: str) -> None:
        if not _MODULE_NAME.match(str(name)):
            raise DeclarationError(
                f"Module({name!r}): a module's name is lower-case letters, digits and underscores, e.g. 'orders'."
            )
        self.name = name
        self.handlers: list[HandlerDeclaration] = []

    @overload
    def on(
        self,
        event: type[E],
        *,
        id: str | None = None,
        was: Sequence[str] = (),
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: Callable[[E], str] | None = None,
        ordered: bool = True,
        on_dead: Literal["park", "continue"] = "park",
    ) -> HandlerDecorator[E]: ...

    @overload
    def on(
        self,
        event: str,
        *,
        id: str | None = None,
        was: Sequence[str] = (),
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: Callable[[Any], str] | None = None,
        ordered: bool = True,
        on_dead: Literal["park", "continue"] = "park",
    ) -> Callable[[F], F]: ...

    def on(
        self,
        event: type[Any] | str,
        *,
        id: str | None = None,  # noqa: A002 - the field's word; nobody needs the builtin here
        was: Sequence[str] = (),
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: Callable[[Any], str] | None = None,
        ordered: bool = True,
        on_dead: Literal["park", "continue"] = "park",
    ) -> Callable[[Any], Any]:
        """Declare a handler of an event class, of an event's name, or of a wildcard such as ``"orders.*"``.

        The handler is called with the event (for a name or wildcard whose class this process does not know, with a
        ``RawEvent``) and may ask for dependencies, see the guide. Its ``id``, ``module.function`` by default, is the
        identity of its retries and dead letters: keep it, or list old ids in ``was`` after a rename.

        ``timeout`` is in seconds (default: the setting ``handler_timeout``, 30). With ``ordered`` (the default) the
        next event of the same ordering key starts only when this one is settled. ``on_dead="continue"`` lets
        followers of a dead event pass instead of parking them behind it.

        The function is returned as it is and may be declared for further events, each time with an ``id`` of its own.

        Raises ``DeclarationError`` and its kinds, naming the handler.
        """

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            handler_id = id or f"{self.name}.{getattr(function, '__name__', 'handler')}"
            selects, event_class = _selected(event, handler_id)
            self.handlers.append(
                HandlerDeclaration(
                    id=_checked_id(handler_id),
                    module=self.name,
                    function=function,
                    selects=selects,
                    event_class=event_class,
                    retry=retry,
                    timeout=_checked_timeout(timeout, handler_id),
                    idempotency_key=idempotency_key,
                    ordered=ordered,
                    on_dead=on_dead,
                    was=tuple(_checked_id(old) for old in was),
                )
            )
            return function

        return declare


def _selected(event: type[Any] | str, handler_id: str) -> tuple[str, type[Event] | None]:
    owner = f"handler {handler_id!r}"
    if isinstance(event, str):
        name = check_pattern(event, owner=owner) if is_pattern(event) else canonical_name(event, owner=owner)
        return name, None
    if not inspect.isclass(event) or not issubclass(event, Event):
        raise InvalidHandler(f"{owner}: on() takes an Event class, an event's name or a wildcard, not {event!r}.")
    options = options_of(event)
    if options is None:
        raise InvalidHandler(f"{owner}: {event.__qualname__} is abstract. Give the class a name=, or use a wildcard.")
    return options.name, event


def _checked_id(handler_id: str) -> str:
    if not _HANDLER_ID.match(handler_id):
        raise DeclarationError(
            f"handler id {ascii(handler_id)[:80]}: an id is 1 to 200 letters, digits and the signs '_.:-'."
        )
    return handler_id


def _checked_timeout(timeout: float | timedelta | None, handler_id: str) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if seconds <= 0:
        raise ContradictoryOptions(
            f"handler {handler_id!r}: timeout={seconds:g} leaves no time to run. Use more than 0."
        )
    return seconds
