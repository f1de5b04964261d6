"""What a mapped class says about the events of its rows, checked when the class is made."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import cached_property
from typing import Any, TypeVar, cast

from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import Mapper, class_mapper
from sqlalchemy.orm.exc import UnmappedClassError

from fastapi_events.api.emits.emission import CHANGES, Emission, ValueMap, declared_ancestor, note
from fastapi_events.api.emits.watching import watch
from fastapi_events.api.publishing.changes import Operation
from fastapi_events.errors import ContradictoryOptions, DeclarationError, UnknownOption
from fastapi_events.model.event import Event, options_of
from fastapi_events.model.unknown_options import names_unknown

T = TypeVar("T")

_ENDINGS: dict[str, Operation] = {"created": "created", "updated": "updated", "deleted": "deleted"}


class Emits(Emission):
    """What ``emits`` returns: a decorator of mapped classes, and a value of the class keyword."""

    def __call__(self, mapped: type[T]) -> type[T]:
        """Declare it of a mapped class."""
        mapper = _mapper_of(mapped)
        attributes = _Attributes(mapped, mapper)
        attributes.check_ignored(self.ignore)
        for operation, event in self.events.items():
            attributes.check(operation, event, mapping=self.map is not None)
        watch(mapped, mapper, first=not declared_ancestor(mapped))
        note(mapped, self)
        return mapped


@names_unknown
def emits(
    *events: type[Event],
    created: type[Event] | None = None,
    updated: type[Event] | None = None,
    deleted: type[Event] | None = None,
    map: ValueMap | None = None,  # noqa: A002 - that is what it is
    ignore: Collection[str] = (),
) -> Emits:
    """Say which events the rows of a mapped class publish by themselves, in the transaction that changes them.

    As a decorator of any class that SQLAlchemy maps, SQLModel's included, or as the value of the class keyword of
    ``EmitsEvents``. Events without a keyword are told apart by the last part of their name, which has to be
    ``created``, ``updated`` or ``deleted``; the keywords take events of any name. An operation without an event
    publishes nothing.

    Every field of an event is filled with the object's attribute of the same name; ``changes`` of an ``updated`` event
    is what has changed, as ``{"email": {"from": …, "to": …}}``. ``map`` is given the object and returns further values,
    which come before the attributes. ``ignore`` names columns whose change alone is none, and which ``changes`` leaves
    out.

    Example::

        @emits(ContactCreated, ContactUpdated, ContactDeleted)
        class Contact(Base): ...

    Raises ``DeclarationError`` or a kind of it for what cannot work.
    """
    given: dict[Operation, type[Event]] = {}
    named: dict[Operation, type[Event] | None] = {"created": created, "updated": updated, "deleted": deleted}
    for operation, event in (*_by_name(events), *named.items()):
        if event is not None:
            _add(given, operation, event)
    if not given:
        raise DeclarationError("emits: no event is given. Write e.g. emits=(ContactCreated, ContactUpdated).")
    mapping: object = map  # callers may be untyped
    if mapping is not None and not callable(mapping):
        raise DeclarationError(f"emits: map={ascii(map)[:80]} is not callable. Pass a function of the object.")
    if isinstance(ignore, str):
        raise DeclarationError(f"emits: ignore={ignore!r} is a text. Pass the names in a list: ignore=[{ignore!r}].")
    return Emits(given, map, frozenset(ignore))


def emits_from(owner: str, given: object) -> Emits:
    """What a class keyword was given: a tuple or list of events, or what ``emits`` returned."""
    if isinstance(given, Emits):
        return given
    if isinstance(given, (tuple, list)):
        return emits(*cast("Iterable[Any]", given))
    raise DeclarationError(
        f"class {owner}: emits={ascii(given)[:80]} is no tuple of events. Write emits=(ContactCreated, "
        "ContactUpdated), or emits=emits(created=ContactCreated) for events of other names."
    )


def _by_name(events: Iterable[type[Event]]) -> Iterable[tuple[Operation, type[Event]]]:
    for event in events:
        name = _name_of(event)
        ending = name.rpartition(".")[2]
        operation = _ENDINGS.get(ending)
        if operation is None:
            raise DeclarationError(
                f"emits: {event.__qualname__} is named {name!r}, and only names that end in .created, .updated or "
                f".deleted say what they tell of. Write e.g. emits=emits(created={event.__qualname__})."
            )
        yield operation, event


def _name_of(event: Any) -> str:
    shown = ascii(event)[:80]
    if not isinstance(event, type) or not issubclass(event, Event):
        raise DeclarationError(f"emits: {shown} is no event. Pass classes derived from Event.")
    options = options_of(event)
    if options is None:
        raise DeclarationError(f"emits: {event.__qualname__} has no name=, so it is abstract. Give the class a name.")
    return options.name


def _add(given: dict[Operation, type[Event]], operation: Operation, event: type[Event]) -> None:
    _name_of(event)
    other = given.setdefault(operation, event)
    if other is not event:
        raise ContradictoryOptions(
            f"emits: both {other.__qualname__} and {event.__qualname__} are to tell that a row was {operation}. Keep "
            "one of them."
        )


def _mapper_of(mapped: type[Any]) -> Mapper[Any]:
    try:
        return class_mapper(mapped, configure=False)
    except (ArgumentError, UnmappedClassError) as error:
        raise DeclarationError(
            f"class {mapped.__qualname__} emits events, but it is mapped to no table. Declare it of the class that has "
            "table=True or __tablename__; if the class is mapped by a call, decorate it after that."
        ) from error


class _Attributes:
    """What can be read of a mapped class's objects by name. Asks for nothing that would configure its relationships."""

    def __init__(self, mapped: type[Any], mapper: Mapper[Any]) -> None:
        self._mapped, self._mapper = mapped, mapper
        self.columns = frozenset(str(key) for key, _ in mapper.columns.items())

    @cached_property
    def _names(self) -> frozenset[str]:
        hybrids = {
            str(key)
            for key, found in self._mapper.all_orm_descriptors.items()
            if found.extension_type is HybridExtensionType.HYBRID_PROPERTY
        }
        properties = {
            name
            for name in dir(self._mapped)
            if isinstance(inspect.getattr_static(self._mapped, name, None), (property, cached_property))
            and not name.startswith("_")
            and name not in _OF_MODELS
        }
        return self.columns | hybrids | properties

    def check_ignored(self, ignored: Iterable[str]) -> None:
        for name in ignored:
            if name not in self.columns:
                raise UnknownOption(
                    f"class {self._mapped.__qualname__}: ignore={name!r} names no column.{self._hint(name)}"
                )

    def _hint(self, name: str) -> str:
        near = get_close_matches(name, sorted(self._names), n=1)
        return f" Did you mean {near[0]!r}?" if near else ""

    def check(self, operation: Operation, event: type[Event], *, mapping: bool) -> None:
        owner = self._mapped.__qualname__
        for name in event.model_fields:
            if name == CHANGES and operation == "updated":
                if name in self._names and not mapping:
                    raise ContradictoryOptions(
                        f"class {owner}: {event.__qualname__}.changes is filled with what has changed, and {owner} has "
                        "an attribute of that name. Rename one of them, or say which it is by emits(..., map=...)."
                    )
            elif name not in self._names and not mapping:
                raise DeclarationError(
                    f"class {owner} has no attribute {name!r} for the field of {event.__qualname__}, which tells of "
                    f"{operation} rows.{self._hint(name)} Fields are filled with the columns and properties of their "
                    "names; others with emits(..., map=lambda row: {...})."
                )


_OF_MODELS = frozenset({"model_extra", "model_fields_set", "model_computed_fields"})
