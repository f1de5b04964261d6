"""Events as users declare them: typed, named, versioned classes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, get_args
from weakref import WeakSet

from pydantic import BaseModel, ConfigDict

from fastapi_events.errors import ContradictoryOptions, UnknownOption
from fastapi_events.model.names import canonical_name, resource_part
from fastapi_events.model.retry import Retry
from fastapi_events.model.secrets import HIDDEN, holds_secret, inside, is_marked

if TYPE_CHECKING:
    from pydantic import Field, PrivateAttr
    from pydantic._internal._model_construction import ModelMetaclass
    from typing_extensions import dataclass_transform

Direction = Literal["inbound", "change", "outbound"]
Tier = Literal["domain", "audit"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True, slots=True)
class EventOptions:
    """The class keywords of an event.

    ``aggregate`` defaults to the middle part of a three-part name. ``aggregate_id`` and ``key`` name payload
    fields; without either the event has no ordering key. ``serialize`` makes concurrent writers of one key wait
    for each other, so that position order is commit order even where they share no row lock. No stored payload is older
    than ``oldest_version``: one that is cannot be read, and needs no upcaster.
    """

    name: str
    version: int = 1
    direction: Direction = "change"
    tier: Tier = "domain"
    aggregate: str | None = None
    aggregate_id: str | None = None
    source: str | None = None
    destination: str | None = None
    lane: str | None = None
    retry: Retry | None = None
    description: str | None = None
    serialize: bool = False
    key: str | None = None
    oldest_version: int = 1


OPTION_NAMES = tuple(field.name for field in fields(EventOptions))


if TYPE_CHECKING:

    class EventKeywords(ConfigDict, total=False, closed=True):
        """The keywords of an event's class, for checkers: those of ``EventOptions``, and the model's own."""

        name: str | None
        version: int
        direction: Direction
        tier: Tier
        aggregate: str | None
        aggregate_id: str | None
        source: str | None
        destination: str | None
        lane: str | None
        retry: Retry | None
        description: str | None
        serialize: bool
        key: str | None
        oldest_version: int


# Where a class has a metaclass, mypy checks no keywords, and pyright those of the metaclass's __new__. Pydantic's takes
# any; so pyright is shown one that says which there are. mypy, which sets MYPY to true, keeps what it (and Pydantic's
# plugin for it) knows of models.
MYPY: Literal[False] = False
if TYPE_CHECKING and not MYPY:

    @dataclass_transform(kw_only_default=True, field_specifiers=(Field, PrivateAttr))
    class _CheckedModelMeta(ModelMetaclass):
        def __new__(
            mcs, _name: str, _bases: tuple[type, ...], _body: dict[str, Any], /, **keywords: Unpack[EventKeywords]
        ) -> type: ...

        # Without these the checker makes a dataclass of this class: with a __new__ that takes anything, and no hash.
        def __init__(cls, *args: Any, **keywords: Any) -> None: ...
        def __hash__(cls) -> int: ...

    class _Model(BaseModel, metaclass=_CheckedModelMeta): ...

else:
    _Model = BaseModel


_declared: WeakSet[type[Event]] = WeakSet()


class Event(_Model):
    """Base of all events: facts that have happened, named in the past tense, immutable.

    Example::

        class OrderPlaced(Event, name="orders.order.placed", aggregate="order", aggregate_id="order_id"):
            order_id: UUID
            sku: str

    A class without ``name=`` is abstract: it can be inherited from and never published. Name and version are
    not inherited. Raises ``InvalidEventName``, ``UnknownOption`` or ``ContradictoryOptions`` when the class is made.
    """

    model_config = ConfigDict(frozen=True)
    __event_options__: ClassVar[EventOptions | None] = None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What is shown of an event, in errors and logs too: no secrets."""
        for name, value in super().__repr_args__():
            hidden = name and value is not None and holds_secret(inside((type(self),), name))
            yield name, HIDDEN if hidden else value

    # Typed for readers and editors; checkers look at the metaclass.
    def __init_subclass__(cls, **options: Unpack[EventKeywords]) -> None:
        super().__init_subclass__()
        cls.__event_options__ = _read_options(cls, dict(options))
        if cls.__event_options__ is not None:
            _declared.add(cls)

    @classmethod
    def __pydantic_init_subclass__(cls, **_options: Any) -> None:
        super().__pydantic_init_subclass__()
        if cls.__event_options__ is not None:
            _check_fields(cls, cls.__event_options__)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event of a class that this process does not know, as wildcard handlers and raw publishers see it."""

    name: str
    version: int
    payload: Any


def options_of(event_class: type[Event]) -> EventOptions | None:
    """The options of a named event class; None for an abstract one."""
    return event_class.__event_options__


def declared_classes(name: str | None = None) -> list[type[Event]]:
    """Every named event class of this process, or those of one name, whatever the version and whoever uses them."""
    named = [(cls, cls.__event_options__) for cls in list(_declared)]
    return [cls for cls, options in named if options and name in (None, options.name)]


def importable_names() -> set[str]:
    """The names of the events whose class is found where it says it lives: not inside a function, nor replaced."""
    return {cls.__event_options__.name for cls in importable_classes() if cls.__event_options__}


def importable_classes() -> list[type[Event]]:
    """The named event classes of this process that are found where they say they live."""
    return [cls for cls in list(_declared) if _is_importable(cls)]


def declared_tiers(name: str) -> set[Tier]:
    """The tiers of the importable classes that declare an event of this name."""
    found = [cls.__event_options__ for cls in list(_declared) if cls.__event_options__ and _is_importable(cls)]
    return {options.tier for options in found if options.name == name}


def _is_importable(cls: type[Event]) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def _read_options(cls: type[Event], given: dict[str, Any]) -> EventOptions | None:
    owner = f"class {cls.__qualname__}"
    for unknown in given.keys() - set(OPTION_NAMES):
        near = get_close_matches(unknown, OPTION_NAMES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The options are {', '.join(OPTION_NAMES)}."
        raise UnknownOption(f"{owner}: an event has no option {unknown!r}. {hint}")
    if given.get("name") is None:
        if given:
            raise ContradictoryOptions(
                f"{owner}: options {sorted(given)} without name=. Name the event, e.g. name='orders.order.placed', "
                "or leave the options out to make an abstract base class."
            )
        return None
    return declare(owner, given)


def declare(owner: str, given: dict[str, Any]) -> EventOptions:
    """Check a named event's options together; ``owner`` is what the errors name."""
    name = canonical_name(given["name"], owner=owner)
    given = {**given, "name": name}
    if given.get("aggregate") is None:
        given["aggregate"] = resource_part(name)
    options = EventOptions(**given)
    _check_options(owner, options)
    return options


def _check_options(owner: str, options: EventOptions) -> None:
    def refuse(problem: str) -> None:
        raise ContradictoryOptions(f"{owner}: {problem}")

    if type(options.version) is not int or not 1 <= options.version <= 32767:
        refuse(f"version={options.version!r} is not a whole number from 1 to 32767.")
    if type(options.oldest_version) is not int or not 1 <= options.oldest_version <= options.version:
        refuse(
            f"oldest_version={options.oldest_version!r} is not a whole number from 1 to the version, {options.version}."
        )
    if options.direction not in DIRECTIONS:
        refuse(f"direction={options.direction!r} is not one of {', '.join(DIRECTIONS)}.")
    if options.tier not in get_args(Tier):
        refuse(f"tier={options.tier!r} is neither 'domain' nor 'audit'.")
    if options.tier == "audit" and (options.direction != "change" or options.lane):
        refuse("an audit event is never delivered by a lane: leave direction= and lane= out, or tier='audit'.")
    if options.source is not None and options.direction != "inbound":
        refuse("source= names where an inbound event comes from: add direction='inbound' or leave source= out.")
    if options.destination is not None and options.direction != "outbound":
        refuse("destination= names where an outbound event goes: add direction='outbound' or leave it out.")
    if options.lane is not None and options.lane.split(".")[0] != options.direction:
        refuse(f"lane={options.lane!r} belongs to another direction than {options.direction!r}.")
    if options.serialize and options.key is None and options.aggregate_id is None:
        refuse("serialize=True needs a key to serialise on: add aggregate_id= or key=.")
    retry: Any = options.retry  # callers may be untyped
    if retry is not None and not isinstance(retry, Retry):
        refuse(f"retry={ascii(retry)[:80]} is not a policy. Write e.g. retry=Retry(max_attempts=3).")


def _check_fields(cls: type[Event], options: EventOptions) -> None:
    for option in ("aggregate_id", "key"):
        field = getattr(options, option)
        if field is not None and field not in cls.model_fields:
            near = get_close_matches(str(field), list(cls.model_fields), n=1)
            fields = f" Its fields are {', '.join(cls.model_fields)}." if cls.model_fields else " It has none."
            hint = f" Did you mean {near[0]!r}?" if near else fields
            raise ContradictoryOptions(
                f"class {cls.__qualname__}: {option}={field!r} names no field of the event.{hint}"
            )
        if field is not None and is_marked(cls, field):
            raise ContradictoryOptions(
                f"class {cls.__qualname__}: {option}={field!r} is secret, and would be shown: the envelope is. Name "
                "another field, such as an id that says nothing by itself."
            )
