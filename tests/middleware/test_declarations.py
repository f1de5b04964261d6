"""What can never work is refused where it is written, naming the object and the mend."""

from collections.abc import Callable
from typing import Any

import pytest

from fastapi_events import Events, HandleContext, HandleNext, Middleware, Module
from fastapi_events.errors import DeclarationError, InvalidMiddleware
from tests.delivery.stage import Placed


class Good(Middleware):
    async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
        await call_next(context)


class Plain(Middleware):
    def handle(self, context: Any, call_next: Any) -> None: ...


class Yielding(Middleware):
    async def handle(self, context: Any, call_next: Any) -> Any:
        yield


class Short(Middleware):
    async def attempt(self, context: Any) -> None: ...


class Long(Middleware):
    async def publish(self, context: Any, call_next: Any, more: Any) -> None: ...


class Misspelt(Middleware):
    async def handles(self, context: Any, call_next: Any) -> None: ...


class Prefixed(Middleware):
    async def on_publish(self, context: Any, call_next: Any) -> None: ...


class Empty(Middleware): ...


async def function(context: Any, call_next: Any) -> None: ...


def on_events(middleware: Any) -> None:
    Events(middleware=middleware)


def on_module(middleware: Any) -> None:
    Module("shop", middleware=middleware)


def on_handler(middleware: Any) -> None:
    module = Module("shop")

    @module.on(Placed, middleware=middleware)
    async def handle(event: Placed) -> None: ...


PLACES = [(on_events, r"Events\(\.\.\.\)"), (on_module, r"Module\('shop'\)"), (on_handler, "handler 'shop.handle'")]


@pytest.mark.parametrize(("place", "owner"), PLACES, ids=["events", "module", "handler"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Good(), r"takes a list, not a Good\. Write middleware=\[Good\(\.\.\.\)\]"),
        (Good, r"not the class Good\. It is a class: write middleware=\[Good\(\.\.\.\)\]"),
        ([Good], r"\[the class Good\] is not a middleware\. It is a class: write middleware=\[Good\(\.\.\.\)\]"),
        ([function], r"\[the function function\] is not a middleware\. A middleware is an object of a class"),
        (None, r"takes a list of middleware, not None"),
        ("timing", r"takes a list of middleware, not 'timing'"),
        ([Plain()], r"middleware Plain\.handle\(\) is not async\. Write async def"),
        ([Yielding()], r"middleware Yielding\.handle\(\) has a yield"),
        ([Good(), Short()], r"Short\.attempt\(\) cannot take .* Write async def attempt\(self, context, call_next\)"),
        ([Long()], r"Long\.publish\(\) cannot take .* Write async def publish\(self, context, call_next\)"),
        ([Misspelt()], r"Misspelt overrides none of .* Did you mean handle\(\) by handles\(\)\?"),
        ([Prefixed()], r"Prefixed overrides none of .* Did you mean publish\(\) by on_publish\(\)\?"),
        ([Empty()], r"Empty overrides none of publish\(\), handle\(\) and attempt\(\)\. Override one"),
    ],
)  # fmt: skip
def test_it_is_refused(place: Callable[[Any], None], owner: str, given: Any, says: str) -> None:
    with pytest.raises(InvalidMiddleware, match=rf"{owner}: .*{says}"):
        place(given)


@pytest.mark.parametrize("place", [on_events, on_module, on_handler])
def test_what_works_is_taken(place: Callable[[Any], None]) -> None:
    place([])
    place(iter([Good(), Good()]))
    wrapped = Good()
    wrapped.handle = function
    place((wrapped,))
    assert issubclass(InvalidMiddleware, DeclarationError)
