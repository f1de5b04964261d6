"""A handler's first parameter is its event, or a list of them: it must be what the handler is declared for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, MutableSequence, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from fastapi_events.errors import InvalidHandler
from fastapi_events.model.event import Event, RawEvent

_LISTS = (list, Sequence, MutableSequence, Collection, Iterable)


def check_list_parameter(function: Callable[..., Any], *, in_lists: bool, owner: str) -> None:
    """Raise ``InvalidHandler`` if the first parameter is a list and the handler has no ``batch=``, or the reverse."""
    parameter, annotation = _first(function)
    if parameter is None or in_lists == _is_list(annotation) or (in_lists and _says_nothing(annotation)):
        return
    what = f"{owner}: its first parameter, {parameter.name!r}, is annotated {_shown(annotation)}"
    if in_lists:
        raise InvalidHandler(
            f"{what}, but with batch= it is given a list of events. Write {parameter.name}: list[...], with the "
            "event's class in the brackets, or leave batch= out."
        )
    raise InvalidHandler(
        f"{what}, but a handler without batch= is given one event. Add batch=500, the largest number of events in a "
        f"list, to on(), or annotate {parameter.name} with the event's class."
    )


def check_event_parameter(
    function: Callable[..., Any], event_class: type[Event], *, in_lists: bool, owner: str
) -> None:
    """Raise ``InvalidHandler`` if the annotation of the first parameter cannot take the event.

    A base class of it, ``Event``, ``Any``, a union with one of these and no annotation can. An annotation that cannot
    be read (yet) is let through: a name may be defined further down in its module.
    """
    parameter, annotation = _first(function)
    if parameter is not None and not _takes(_element(annotation) if in_lists else annotation, event_class):
        name = event_class.__qualname__
        mend = f"the list of events: write events: list[{name}]" if in_lists else f"the event: write event: {name}"
        raise InvalidHandler(
            f"{owner}: its first parameter, {parameter.name!r}, is annotated {_shown(annotation)}, which does not take "
            f"the {name} that the handler is declared for. The first parameter is {mend}."
        )


def check_selected_event(
    function: Callable[..., Any], same: Sequence[type[Event]], *, in_lists: bool, owner: str
) -> None:
    """Raise ``InvalidHandler`` if the first parameter of a handler by name or wildcard takes none of these classes.

    They declare one event in one version: the handler is called with that, unless it takes every event raw.
    """
    parameter, annotation = _first(function)
    if parameter is None or takes_raw_events(function):
        return
    wanted = _element(annotation) if in_lists else annotation
    if not any(_takes(wanted, event_class) for event_class in same):
        name = same[0].__qualname__
        event, either = ("list[Event]", "list[Event | RawEvent]") if in_lists else ("Event", "Event | RawEvent")
        raise InvalidHandler(
            f"{owner}, and with it {same[0].__module__}.{name}, which its first parameter, {parameter.name!r}, "
            f"annotated {_shown(annotation)}, does not take. Annotate it {event}, {either} (an event of no known class "
            f"comes as a RawEvent), or a union that has {name}; or select less."
        )


def takes_raw_events(function: Callable[..., Any]) -> bool:
    """Whether the first parameter, or a list's element, is annotated ``RawEvent`` and nothing else: no event of a class
    can be given."""
    _, annotation = _first(function)
    return _plain(_element(annotation)) is RawEvent


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_list(annotation: Any) -> bool:
    plain = _plain(annotation)
    return plain in (list, Sequence) or get_origin(plain) in _LISTS


def _says_nothing(annotation: Any) -> bool:
    return _plain(annotation) in (Any, object, inspect.Parameter.empty)


def _element(annotation: Any) -> Any:
    """What a list holds; anything else as it is."""
    plain = _plain(annotation)
    if get_origin(plain) in _LISTS:
        return next(iter(get_args(plain)), Any)
    return Any if plain in (list, Sequence) else annotation


def _first(function: Callable[..., Any]) -> tuple[inspect.Parameter | None, Any]:
    """The first parameter and its annotation; None if there is none, or it cannot be read."""
    try:
        parameter = next(iter(inspect.signature(function).parameters.values()), None)
        hints = get_type_hints(_annotated(function), include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is the user's code; what it raises is reported at assembly
        return None, None
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None, None
    return parameter, hints.get(parameter.name, parameter.annotation)


def _annotated(function: Callable[..., Any]) -> Any:
    """Where the annotations of a callable are."""
    if inspect.isclass(function):
        return function.__init__
    return function if inspect.isroutine(function) else type(function).__call__


def _takes(annotation: Any, event_class: type[Event]) -> bool:
    """Whether a value of the class may be given; true for what is not understood."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _takes(get_args(annotation)[0], event_class)
    if origin in (Union, UnionType):
        return any(_takes(inner, event_class) for inner in get_args(annotation))
    kind = origin or annotation
    if kind in (Any, inspect.Parameter.empty) or not isinstance(kind, type):
        return True
    try:
        return issubclass(event_class, (kind, _unparametrised(kind)))
    except TypeError:  # a protocol that cannot be asked
        return True


def _unparametrised(kind: type[Any]) -> type[Any]:
    """``Imported`` of ``Imported[Order]``, which Pydantic makes a class of its own."""
    generic: dict[str, Any] = getattr(kind, "__pydantic_generic_metadata__", {})
    return generic.get("origin") or kind


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
