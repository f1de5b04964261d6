"""A handler's first parameter is its event: what it says must be what the handler is declared for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from fastapi_events.errors import InvalidHandler
from fastapi_events.model.event import Event, RawEvent


def check_event_parameter(function: Callable[..., Any], event_class: type[Event], *, owner: str) -> None:
    """Raise ``InvalidHandler`` if the annotation of the first parameter cannot take the event.

    A base class of it, ``Event``, ``Any``, a union with one of these and no annotation can. An annotation that cannot
    be read (yet) is let through: a name may be defined further down in its module.
    """
    parameter, annotation = _first(function)
    if parameter is not None and not _takes(annotation, event_class):
        name = event_class.__qualname__
        raise InvalidHandler(
            f"{owner}: its first parameter, {parameter.name!r}, is annotated {_shown(annotation)}, which does not take "
            f"the {name} that the handler is declared for. The first parameter is the event: write event: {name}."
        )


def takes_raw_events(function: Callable[..., Any]) -> bool:
    """Whether the first parameter is annotated ``RawEvent`` and nothing else: no event of a class can be given."""
    _, annotation = _first(function)
    return (get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation) is RawEvent


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
