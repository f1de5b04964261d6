"""The first parameter of a handler is its event, and says so if it says anything."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Generic, Protocol, TypeVar

import pytest

from fastapi_events import Delivery, Event, EventPublisher, Events, HandlerSession, Module, RawEvent
from fastapi_events.errors import InvalidHandler

T = TypeVar("T")


class Stored(Event):
    parcel: str = "a"


class ParcelStored(Stored, name="depot.parcel.stored"): ...


class ParcelStoredTwice(ParcelStored, name="depot.parcel.stored_twice"): ...


class ParcelSent(Stored, name="depot.parcel.sent"): ...


class Imported(Event, Generic[T], name="depot.import.done"):
    value: T


class HasParcel(Protocol):
    parcel: str


def declared(annotation: Any, event: type[Event] | str = ParcelStored) -> Module:
    module = Module("depot")

    async def handle(event) -> None: ...  # type: ignore[no-untyped-def]

    handle.__annotations__["event"] = annotation
    module.on(event)(handle)
    return module


@pytest.mark.parametrize(
    "annotation",
    [
        ParcelStored, Stored, Event, object, Any, HasParcel, T, "ParcelStored", "ParcelSent | Event",
        ParcelSent | ParcelStored, RawEvent | ParcelStored, Stored | None, Annotated[ParcelStored, "x"],
        Annotated[ParcelSent, "x"] | ParcelStored,
    ],
)  # fmt: skip
def test_whatever_takes_the_event_is_taken(annotation: Any) -> None:
    Events([declared(annotation)])


@pytest.mark.parametrize(
    "annotation",
    [
        ParcelSent, ParcelStoredTwice, RawEvent, ParcelSent | RawEvent, Annotated[ParcelSent, "x"],
        "ParcelSent", "ParcelSent | None", ParcelSent | None,
        type[ParcelStored], dict[str, Any], str,
        HandlerSession, Delivery,
    ],
)  # fmt: skip
def test_whatever_cannot_take_the_event_is_refused_where_it_is_declared(annotation: Any) -> None:
    told = (
        r"handler 'depot.handle' \(.*test_event_parameter.py:\d+\): its first parameter, 'event', is annotated .*, "
        r"which does not take the ParcelStored .* write event: ParcelStored\."
    )
    with pytest.raises(InvalidHandler, match=told):
        declared(annotation)


def test_a_class_with_type_parameters_takes_any_of_them() -> None:
    Events([declared(Imported[int], Imported)])
    with pytest.raises(InvalidHandler, match="annotated ParcelSent"):
        declared(ParcelSent, Imported)


def test_an_annotation_that_is_readable_only_later_is_checked_when_modules_are_assembled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = declared("Later")
    monkeypatch.setitem(globals(), "Later", ParcelSent)
    with pytest.raises(InvalidHandler, match="annotated ParcelSent, which does not take the ParcelStored"):
        Events([module])


@pytest.mark.parametrize("event", ["depot.parcel.stored", "depot.*"])
@pytest.mark.parametrize("annotation", [RawEvent, Event, ParcelSent, ParcelSent | RawEvent, Any])
def test_handlers_by_name_say_what_they_like(annotation: Any, event: str) -> None:
    Events([declared(annotation, event)])


@pytest.mark.parametrize("annotation", [HandlerSession, Delivery, EventPublisher])
def test_what_the_library_gives_is_no_event(annotation: Any) -> None:
    with pytest.raises(InvalidHandler, match=rf"'event', is annotated {annotation.__name__}.*Put the event first"):
        Events([declared(annotation, "depot.*")])


def test_objects_methods_and_partials_are_read_too() -> None:
    class Desk:
        async def handle(self, event: ParcelSent) -> None: ...

        async def __call__(self, event: ParcelSent) -> None: ...

    async def handle(number: int, event: ParcelSent) -> None: ...

    module = Module("depot")
    for function in (Desk().handle, Desk(), functools.partial(handle, 3)):
        with pytest.raises(InvalidHandler, match="annotated ParcelSent"):
            module.on(ParcelStored, id="depot.wrong")(function)  # type: ignore[arg-type]
        module.on(ParcelSent, id=f"depot.{len(module.handlers)}")(function)
    Events([module])


def test_a_handler_that_yields_would_never_run() -> None:
    async def later(event: ParcelSent) -> AsyncIterator[int]:
        yield 1

    def plain(event: ParcelSent) -> Iterator[int]:
        yield 1

    for function in (later, plain):
        module = Module("depot")
        module.on(ParcelSent)(function)
        with pytest.raises(InvalidHandler, match="has a yield, and so would never run"):
            Events([module])
