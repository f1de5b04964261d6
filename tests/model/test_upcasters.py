"""Upcasters that can never work are refused where they are written, or when everything is declared."""

import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from fastapi_events import Event, Events, Module
from fastapi_events.errors import (
    ContradictoryOptions,
    DeclarationError,
    DuplicateUpcaster,
    InvalidUpcaster,
    MissingUpcaster,
)
from fastapi_events.model.registry import Registry


class Abstract(Event):
    total: int = 0


class Paid1(Abstract, name="pay.order.paid"): ...


class Paid3(Abstract, name="pay.order.paid", version=3): ...


class Recent(Abstract, name="pay.order.refunded", version=4, oldest_version=3): ...


def same(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


async def waiting(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


async def streaming(payload: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield payload


def yielding(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield payload


def of_two(payload: dict[str, Any], more: int) -> dict[str, Any]:
    return payload


class Waiting:
    async def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        return payload


class Step:
    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        return payload


WRONG_STEPS: list[tuple[Any, Any, type[Exception], str]] = [
    (same, 1, InvalidUpcaster, r"module 'pay': upcast\(\) takes an Event class.*Write @module.upcast\(OrderPlaced"),
    ("pay.order.paid", 1, InvalidUpcaster, r"takes an Event class, not 'pay.order.paid'"),
    (Abstract, 1, InvalidUpcaster, r"was given Abstract, which is abstract.*the class that has the name="),
    (Paid3, 0, InvalidUpcaster, r"Paid3: from_version=0 is not a whole number from 1"),
    (Paid3, True, InvalidUpcaster, r"Paid3: from_version=True is not a whole number"),
    (Paid3, 3, InvalidUpcaster, r"from_version=3, but the class is version 3.*raise the version of the class"),
    (Paid1, 1, InvalidUpcaster, r"from_version=1, but the class is version 1"),
    (
        Recent,
        2,
        ContradictoryOptions,
        r"Recent: from_version=2, but the class says oldest_version=3.*Drop the upcaster",
    ),
]


@pytest.mark.parametrize(("event", "version", "kind", "told"), WRONG_STEPS)
def test_a_step_that_can_never_be_taken_is_refused(event: Any, version: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        Module("pay").upcast(event, from_version=version)


WRONG_FUNCTIONS: list[tuple[Any, str]] = [
    (waiting, r"upcaster of Paid3 from version 1 \(.*test_upcasters.py:\d+\): an upcaster is a plain def"),
    (partial(waiting), r"is a plain def"),
    (streaming, r"is a plain def"),
    (Waiting(), r"is a plain def"),
    (yielding, r"Write return in place of yield"),
    (of_two, r"called with one argument, the stored payload as a dict"),
    (3, r"3 is not a function"),
]


@pytest.mark.parametrize(("function", "told"), WRONG_FUNCTIONS)
def test_a_function_that_cannot_lift_a_payload_is_refused(function: Any, told: str) -> None:
    with pytest.raises(InvalidUpcaster, match=told):
        Module("pay").upcast(Paid3, from_version=1)(function)


@pytest.mark.parametrize("function", [same, partial(of_two, more=1), Step(), dict])
def test_whatever_takes_a_payload_may_lift_it(function: Any) -> None:
    module = Module("pay")
    assert module.upcast(Paid3, from_version=1)(function) is function
    assert [step.function for step in module.upcasters] == [function]


def test_two_upcasters_of_one_version_are_refused_though_they_are_in_two_modules() -> None:
    pay, audit = Module("pay"), Module("audit")
    pay.upcast(Paid3, from_version=1)(same)
    audit.upcast(Paid3, from_version=1)(same)
    Events(modules=[pay, pay])
    with pytest.raises(
        DuplicateUpcaster, match=r"lift version 1 of 'pay.order.paid': .*py:\d+ and .*py:\d+. Remove one"
    ):
        Events(modules=[pay, audit])


def handling(event: type[Event]) -> Module:
    module = Module("pay")

    @module.on(event)
    async def handle(event: Any) -> None: ...

    return module


def test_a_handler_whose_older_versions_cannot_be_lifted_is_named_with_the_first_that_is_missing() -> None:
    module = handling(Paid3)
    module.upcast(Paid3, from_version=1)(same)
    told = r"handler 'pay.handle' \(.*\) takes version 3 of 'pay.order.paid' \(Paid3\), and nothing lifts .* of "
    with pytest.raises(
        MissingUpcaster, match=told + r"version 2. Declare @module.upcast\(Paid3, from_version=2\).*oldest"
    ):
        Registry([module]).check_upcasters()
    module.upcast(Paid3, from_version=2)(same)
    Registry([module]).check_upcasters()


def test_versions_that_the_class_rules_out_need_no_upcaster() -> None:
    module = handling(Recent)
    with pytest.raises(MissingUpcaster, match=r"of version 3\. Declare"):
        Registry([module]).check_upcasters()
    module.upcast(Recent, from_version=3)(same)
    Registry([module]).check_upcasters()


def test_a_class_that_was_never_anything_else_says_so() -> None:
    class New(Event, name="pay.order.born", version=5, oldest_version=5): ...

    Registry([handling(New)]).check_upcasters()


@pytest.mark.parametrize("oldest", [0, 3, "1", True])
def test_an_oldest_version_that_cannot_be_is_refused(oldest: Any) -> None:
    with pytest.raises(
        ContradictoryOptions, match=re.escape(f"oldest_version={oldest!r} is not a whole number from 1 to")
    ):

        class Wrong(Event, name="pay.order.wrong", version=2, oldest_version=oldest): ...


async def test_a_missing_upcaster_is_told_when_the_instance_starts(clean_database: str) -> None:
    """Not before: it may be declared after the handler, by another module or the instance itself."""
    from fastapi_events import EventsSettings

    events = Events(modules=[handling(Paid3)], settings=EventsSettings(database_url=clean_database))
    with pytest.raises(MissingUpcaster):
        await events.start(drains=False)
    for version in (1, 2):
        events.upcast(Paid3, from_version=version)(same)
    await events.start(drains=False)
    try:
        with pytest.raises(DeclarationError, match=r"upcaster of Paid3 from version 1 .*after the Events object"):
            events.upcast(Paid3, from_version=1)(same)
    finally:
        await events.stop()
