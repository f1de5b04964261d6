"""Modules: a feature's handlers and jobs, declared where the feature lives and assembled into an application."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, Literal, TypeVar, overload

from fastapi_events.errors import DeclarationError, InvalidHandler
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.broadcast import check_trigger
from fastapi_events.model.declaring import source_place
from fastapi_events.model.event import Event, options_of
from fastapi_events.model.event_parameter import check_event_parameter, check_list_parameter
from fastapi_events.model.handler_decorator import HandlerDecorator, ListHandlerDecorator
from fastapi_events.model.handler_options import OnDead, checked_id, checked_options
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.middleware_checks import checked_middleware
from fastapi_events.model.names import canonical_name, check_pattern, is_pattern, matches
from fastapi_events.model.retry import Retry
from fastapi_events.model.schedule_declarations import ScheduleDeclarations
from fastapi_events.model.start import Start
from fastapi_events.model.unknown_options import check_known, names_unknown
from fastapi_events.model.upcast import Upcast, Upcaster, check_function, checked_step

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Callable[Concatenate[Any, ...], Any])
U = TypeVar("U", bound=Upcast)
_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


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
    on_dead: OnDead = "park"
    was: tuple[str, ...] = ()
    breaker: Breaker | Literal[False] | None = None
    middleware: tuple[Middleware, ...] = ()
    """That of its module and its own, outermost first."""
    broadcast: bool = False
    audit: bool = False
    batch: int | None = None
    """The largest list that it is given; None if it is given single events."""
    start: Start | None = None
    """The history that it is given when it is new; None for none."""
    job: str | None = None
    """The job that it starts, if it is a trigger and not a handler of the user's."""

    def takes(self, name: str) -> bool:
        """Whether the handler selects events of this name."""
        return matches(self.selects, name)

    def hears(self, name: str, *, audit: bool) -> bool:
        """Whether it is given events of this name. Audit events are for broadcast handlers, wildcards if they ask."""
        heard = not audit or (self.broadcast and (self.audit or not is_pattern(self.selects)))
        return heard and self.takes(name)

    @property
    def where(self) -> str:
        """File and line of the function, for people."""
        return source_place(self.function)


class Module(ScheduleDeclarations):
    """A feature's handlers and jobs, grouped under a name as an ``APIRouter`` groups routes.

    ``name`` is lower-case letters, digits and underscores. ``middleware`` is around each of its handlers. Modules are
    put together by ``Events(modules=[...])``; until then nothing runs.
    """

    @names_unknown
    def __init__(self, name: str, *, middleware: Sequence[Middleware] = ()) -> None:
        if not _MODULE_NAME.match(str(name)):
            raise DeclarationError(
                f"Module({name!r}): a module's name is lower-case letters, digits and underscores, e.g. 'orders'."
            )
        super().__init__(name)
        self._middleware = checked_middleware(f"Module({name!r})", middleware)
        self.handlers: list[HandlerDeclaration] = []
        self.upcasters: list[Upcaster] = []

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
        breaker: Breaker | Literal[False] | None = None,
        middleware: Sequence[Middleware] = (),
        broadcast: bool = False,
        audit: bool = False,
        batch: None = None,
        start: Literal["now", "beginning"] | int | datetime = "now",
    ) -> HandlerDecorator[E]: ...

    @overload
    def on(
        self,
        event: type[E],
        *,
        batch: int,
        id: str | None = None,
        was: Sequence[str] = (),
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: Callable[[E], str] | None = None,
        ordered: bool = True,
        on_dead: Literal["park", "continue"] = "park",
        breaker: Breaker | Literal[False] | None = None,
        middleware: Sequence[Middleware] = (),
        start: Literal["now", "beginning"] | int | datetime = "now",
    ) -> ListHandlerDecorator[E]: ...

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
        breaker: Breaker | Literal[False] | None = None,
        middleware: Sequence[Middleware] = (),
        broadcast: bool = False,
        audit: bool = False,
        batch: int | None = None,
        start: Literal["now", "beginning"] | int | datetime = "now",
    ) -> Callable[[F], F]: ...

    def on(
        self,
        event: type[Any] | str,
        *more: object,
        id: str | None = None,  # noqa: A002 - the field's word; nobody needs the builtin here
        was: Sequence[str] = (),
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: Callable[[Any], str] | None = None,
        ordered: bool = True,
        on_dead: Literal["park", "continue"] = "park",
        breaker: Breaker | Literal[False] | None = None,
        middleware: Sequence[Middleware] = (),
        broadcast: bool = False,
        audit: bool = False,
        batch: int | None = None,
        start: Literal["now", "beginning"] | int | datetime = "now",
        **unknown: Any,
    ) -> Callable[[Any], Any]:
        """Declare a handler of an event class, a name, or a wildcard; it may ask for dependencies (see the guide).

        It is called with the event (a ``RawEvent`` where this process does not know the class, or its parameter says
        so). Its ``id``, ``module.function``, is its identity in the database: keep it, or list old ids in ``was``.

        ``retry`` defaults to the event's, else the settings'; ``timeout``, in seconds, to ``handler_timeout`` (30). One
        ``idempotency_key``, a function of the event, is handled once. With ``ordered`` (the default) the next event of
        an ordering key starts only when this one is settled; ``on_dead="continue"`` lets followers of a dead one pass.
        ``breaker`` is by the settings ``breaker_…`` unless given (False: none). ``middleware`` is inside the module's.

        With ``broadcast`` it is called in every process that has started with it, also in one that only publishes, for
        what is committed from then on: at most once, without retry, dead letter or session. Only such a handler takes
        audit events, and a wildcard only with ``audit=True``.

        With ``batch`` the first parameter is a list, of up to so many consecutive events of one partition and tenant,
        in order: one attempt and one transaction, within one ``timeout``. One that fails is handed over event by event.

        ``start`` counts when the id is new in its group: ``"beginning"``, a position, or a time with a zone (inclusive)
        gives it what was before too, by a replay that live delivery joins without gap or overlap, in order if ordered.

        The function is returned as it is and may be declared again, each time with an ``id`` of its own, until an
        ``Events`` object that has the module is started. Raises ``DeclarationError`` and its kinds.
        """
        _check_event(event, more, self.name)
        given = {
            "retry": retry, "timeout": timeout, "idempotency_key": idempotency_key, "ordered": ordered, "was": was,
            "on_dead": on_dead, "breaker": breaker, "middleware": middleware, "broadcast": broadcast,
            "audit": audit, "batch": batch, "start": start,
        }  # fmt: skip
        check_known(unknown, ["id", *given], owner=f"module {self.name!r}: on()")
        return functools.partial(self._add, event, id, given)

    @names_unknown
    def upcast(self, event: type[Event], *, from_version: int) -> Callable[[U], U]:
        """Declare a function that lifts stored payloads of one version of an event to the next.

        It is given the payload as a dict and returns one; steps are taken one after the other up to the version that a
        handler's class has, and the class validates the result. ``event`` is the event's newest class. Keep it pure and
        quick: it runs each time that an old event is decoded. One that raises, or returns something else, makes a dead
        letter (``invalid_payload``). An instance with a handler that some older version cannot be lifted for does not
        start (``MissingUpcaster``). Raises ``InvalidUpcaster`` and ``ContradictoryOptions``, naming class and mend.
        """
        name = checked_step(event, from_version, module=self.name)

        def declare(function: U) -> U:
            owner = f"upcaster of {event.__qualname__} from version {from_version}"
            where = source_place(function)
            self._check_open(owner, function, never="call")
            check_function(function, where=where, owner=owner)
            self.upcasters.append(Upcaster(name, from_version, function, where))
            return function

        return declare

    def _add(
        self, event: type[Event] | str, given_id: str | None, given: dict[str, Any], function: Callable[..., Any]
    ) -> Callable[..., Any]:
        default = f"{self.name}.{getattr(function, '__name__', 'handler')}"
        handler_id = checked_id(default if given_id is None else given_id)
        owner = f"handler {handler_id!r}"
        options = checked_options(owner, **given)
        selects, event_class = _selected(event, function, owner, in_lists=options["batch"] is not None)
        options["middleware"] = (*self._middleware, *options["middleware"])
        if event_class is not None and not options["broadcast"]:
            check_trigger(event_class, owner=owner)
        self._check_open(owner, function)
        self.handlers.append(HandlerDeclaration(handler_id, self.name, function, selects, event_class, **options))
        return function


def _check_event(event: object, more: Sequence[object], module: str) -> None:
    """Refuse at once what no decorator could be made of."""
    if more:
        raise InvalidHandler(
            f"module {module!r}: on() takes one event, and was given {1 + len(more)}. Write the decorator once for "
            "each, all but one of them with an id= of its own, or select several by a wildcard, such as 'orders.*'."
        )
    if isinstance(event, str) or (inspect.isclass(event) and issubclass(event, Event)):
        return
    if callable(event) and not inspect.isclass(event):
        raise InvalidHandler(
            f"module {module!r}: on() was given a function, {source_place(event)}, in place of an event. Write the "
            "decorator with brackets and the event that the function handles: @module.on(OrderPlaced)."
        )
    raise InvalidHandler(
        f"module {module!r}: on() takes an Event class, an event's name or a wildcard, not {ascii(event)[:80]}. Write "
        "@module.on(OrderPlaced) with class OrderPlaced(Event, name='orders.order.placed')."
    )


def _selected(
    event: type[Event] | str, function: Callable[..., Any], owner: str, *, in_lists: bool
) -> tuple[str, type[Event] | None]:
    if not callable(function):
        raise InvalidHandler(f"{owner}: {ascii(function)[:80]} is not a function that can handle an event.")
    check_list_parameter(function, in_lists=in_lists, owner=f"{owner} ({source_place(function)})")
    if isinstance(event, str):
        name = check_pattern(event, owner=owner) if is_pattern(event) else canonical_name(event, owner=owner)
        return name, None
    options = options_of(event)
    if options is None:
        raise InvalidHandler(f"{owner}: {event.__qualname__} is abstract. Give the class a name=, or use a wildcard.")
    check_event_parameter(function, event, in_lists=in_lists, owner=f"{owner} ({source_place(function)})")
    return options.name, event
