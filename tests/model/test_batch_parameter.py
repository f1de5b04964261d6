"""``batch=`` and a list as the first parameter: one without the other is refused where it is declared."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import pytest

from fastapi_events import (
    Delivery,
    Event,
    EventPublisher,
    Events,
    HandlerSession,
    Module,
    RawEvent,
    SyncEventPublisher,
    SyncHandlerSession,
)
from fastapi_events.errors import ContradictoryOptions, InvalidHandler


class Parcel(Event):
    parcel: str = "a"


class ParcelStored(Parcel, name="depot.parcel.stored"): ...


class ParcelSent(Parcel, name="depot.parcel.sent"): ...


def declared(annotation: Any, event: Any = ParcelStored, **options: Any) -> Module:
    module = Module("depot")

    async def handle(events) -> None: ...  # type: ignore[no-untyped-def]

    handle.__annotations__["events"] = annotation
    module.on(event, **options)(handle)
    return module


@pytest.mark.parametrize(
    "annotation",
    [
        list[ParcelStored], Sequence[ParcelStored], Iterable[Parcel], list[Event], list[ParcelStored | ParcelSent],
        list[Any], list, Sequence, Any, object, Annotated[list[ParcelStored], "x"], "list[ParcelStored]",
    ],
)  # fmt: skip
def test_a_list_of_the_event_is_taken(annotation: Any) -> None:
    Events([declared(annotation, batch=500)])


@pytest.mark.parametrize("annotation", [list[RawEvent], list[Event], Sequence[ParcelStored | RawEvent]])
def test_a_wildcard_takes_a_list_too(annotation: Any) -> None:
    Events([declared(annotation, "depot.*", batch=500)])


@pytest.mark.parametrize("event", [ParcelStored, "depot.*"])
@pytest.mark.parametrize(
    "annotation", [ParcelStored, ParcelStored | RawEvent, dict[str, Any], tuple[ParcelStored, ...]]
)
def test_without_a_list_batch_is_refused(annotation: Any, event: Any) -> None:
    told = (
        r"handler 'depot.handle' \(.*test_batch_parameter.py:\d+\): its first parameter, 'events', is annotated .*, "
        r"but with batch= it is given a list of events. Write events: list\[...\]"
    )
    with pytest.raises(InvalidHandler, match=told):
        declared(annotation, event, batch=10)


@pytest.mark.parametrize("event", [ParcelStored, "depot.*"])
@pytest.mark.parametrize("annotation", [list[ParcelStored], Sequence[ParcelStored], list, Iterable[RawEvent]])
def test_without_batch_a_list_is_refused(annotation: Any, event: Any) -> None:
    with pytest.raises(InvalidHandler, match=r"handler without batch= is given one event. Add batch=500"):
        declared(annotation, event)


def test_a_list_of_other_events_is_refused() -> None:
    with pytest.raises(InvalidHandler, match=r"does not take the ParcelStored .*: write events: list\[ParcelStored\]"):
        declared(list[ParcelSent], batch=10)


def test_an_annotation_that_is_readable_only_later_is_checked_when_modules_are_assembled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = declared("Later", batch=10)
    monkeypatch.setitem(globals(), "Later", ParcelStored)
    with pytest.raises(InvalidHandler, match="with batch= it is given a list"):
        Events([module])


@pytest.mark.parametrize("batch", [0, -1, 10_001, 2.0, "500", True, False])
def test_a_size_that_cannot_be_one_is_refused(batch: Any) -> None:
    with pytest.raises(ContradictoryOptions, match=r"handler 'depot.handle': batch=.* 1 to 10000: write batch=500"):
        declared(list[ParcelStored], batch=batch)


def test_a_broadcast_handler_takes_no_lists() -> None:
    with pytest.raises(ContradictoryOptions, match="batch= does not go with broadcast=True"):
        declared(list[ParcelStored], batch=10, broadcast=True)


async def one_delivery(events: list[ParcelStored], delivery: Delivery) -> None: ...
async def publishing(events: list[ParcelStored], publish: EventPublisher) -> None: ...
def publishing_in_thread(events: list[ParcelStored], publish: SyncEventPublisher) -> None: ...
def in_sync_session(events: list[ParcelStored], session: SyncHandlerSession) -> None: ...
async def transactional(events: list[ParcelStored], session: HandlerSession, publish: EventPublisher) -> None: ...
async def many_deliveries(event: ParcelStored, deliveries: list[Delivery]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (one_delivery, r"'delivery' \(Delivery\) cannot be given.*With batch= .*take list\[Delivery\]"),
        (
            publishing,
            "takes the publisher EventPublisher without a session, .* Add a parameter session",
        ),
        (publishing_in_thread, "takes the publisher SyncEventPublisher without a session"),
        (in_sync_session, "takes a SyncHandlerSession, but with batch= .* Make it async def"),
    ],
)
def test_what_is_not_recorded_with_a_list_is_refused(handler: Any, told: str) -> None:
    module = Module("depot")
    module.on(ParcelStored, batch=10)(handler)
    with pytest.raises(InvalidHandler, match=rf"handler 'depot.{handler.__name__}' .*{told}"):
        Events([module])


def test_a_publisher_in_a_transaction_is_given() -> None:
    module = Module("depot")
    module.on(ParcelStored, batch=10)(transactional)
    Events([module])


def test_a_handler_of_one_event_has_one_delivery() -> None:
    module = Module("depot")
    module.on(ParcelStored)(many_deliveries)
    with pytest.raises(InvalidHandler, match=r"'deliveries' .* cannot be given"):
        Events([module])
