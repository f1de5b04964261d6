"""Which events the rows of a class publish, as its declaration said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fastapi_events.api.publishing.changes import Operation
from fastapi_events.model.event import Event

CHANGES = "changes"
"""The field of an ``updated`` event that says what has changed."""

ValueMap = Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Emission:
    """The events by what is done to a row, what gives their fields, and the columns that say nothing."""

    events: Mapping[Operation, type[Event]]
    map: ValueMap | None
    ignore: frozenset[str]


_declared: WeakKeyDictionary[type[Any], Emission] = WeakKeyDictionary()


def note(mapped: type[Any], emission: Emission) -> None:
    """Remember what a class declares."""
    _declared[mapped] = emission


def emission_of(mapped: type[Any]) -> Emission | None:
    """What a class or the nearest of its ancestors declares."""
    return next((found for cls in mapped.__mro__ if (found := _declared.get(cls)) is not None), None)


def declared_ancestor(mapped: type[Any]) -> bool:
    """Whether the class has declared something already, or an ancestor has."""
    return any(cls in _declared for cls in mapped.__mro__)
