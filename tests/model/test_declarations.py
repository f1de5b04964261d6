"""Wrong use of the API fails where it is written, naming the thing, the rule and the mend."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from fastapi_events import (
    Breaker,
    Event,
    Events,
    Module,
    Retry,
    RetryLater,
    SyncHandlerSession,
    emits,
    exponential,
    fixed,
)
from fastapi_events.errors import (
    ContradictoryOptions,
    DeclarationError,
    DuplicateEvent,
    DuplicateHandler,
    InvalidEventName,
    InvalidHandler,
    UnknownEvent,
    UnknownOption,
)
from fastapi_events.model.event import OPTION_NAMES
from tests.delivery.stage import Placed


def declare(**options: Any) -> type[Event]:
    class Declared(Event, **options):
        order: str = "a"

    return Declared


WRONG_EVENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": "a.b.c", "agregate": "x"}, UnknownOption, r"Declared: an event has no option 'agregate'.*'aggregate'"),
    ({"name": "a.b.c", "colour": "x"}, UnknownOption, r"'colour'. The options are name, version"),
    ({"aggregate": "x"}, ContradictoryOptions, r"without name=. Name the event"),
    ({"name": "Orders.placed"}, InvalidEventName, r"'Orders.placed' is not valid. A name is 'module.resource.event'"),
    ({"name": "<script>"}, InvalidEventName, r"is not valid"),
    ({"name": "a." + "b" * 300}, InvalidEventName, r"\.\.\. is not valid"),
    ({"name": "a.b.c", "version": 0}, ContradictoryOptions, r"version=0 is not a whole number from 1 to 32767"),
    ({"name": "a.b.c", "version": "1"}, ContradictoryOptions, r"version='1'"),
    ({"name": "a.b.c", "direction": "up"}, ContradictoryOptions, r"direction='up' is not one of inbound, change"),
    ({"name": "a.b.c", "tier": "top"}, ContradictoryOptions, r"neither 'domain' nor 'audit'"),
    ({"name": "a.b.c", "source": "x"}, ContradictoryOptions, r"add direction='inbound' or leave source= out"),
    ({"name": "a.b.c", "destination": "x"}, ContradictoryOptions, r"add direction='outbound'"),
    (
        {"name": "a.b.c", "retry": 3},
        ContradictoryOptions,
        r"Declared: retry=3 is not a policy. Write e.g. retry=Retry\(",
    ),
    ({"name": "a.b.c", "serialize": True}, ContradictoryOptions, r"add aggregate_id= or key="),
    ({"name": "a.b.c", "aggregate_id": "ordr"}, ContradictoryOptions, r"'ordr' names no field.*Did you mean 'order'"),
]


@pytest.mark.parametrize(("options", "kind", "told"), WRONG_EVENTS)
def test_an_event_declared_wrongly_is_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        declare(**options)


def test_a_field_of_an_event_without_fields_is_told() -> None:
    with pytest.raises(ContradictoryOptions, match=r"aggregate_id='order' names no field of the event. It has none\.$"):

        class Empty(Event, name="a.b.c", aggregate_id="order"):
            """Nothing but that it has happened."""


@pytest.mark.parametrize("given", ["3", 0, 1.5, True])
def test_attempts_are_a_whole_number(given: Any) -> None:
    with pytest.raises(ContradictoryOptions, match=r"\): it is a whole number from 1: the first run counts\.$"):
        Retry(max_attempts=given)


def on(*arguments: Any, **options: Any) -> Module:
    module = Module("shop")

    async def handle(event: Any) -> None: ...

    module.on(*arguments, **options)(handle)
    return module


WRONG_HANDLERS: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ((int,), {}, InvalidHandler, r"module 'shop': on\(\) takes an Event class.* not <class 'int'>. Write @module.on\("),
    ((3,), {}, InvalidHandler, r"module 'shop': on\(\) takes an Event class.* not 3"),
    ((Event,), {}, InvalidHandler, r"Event is abstract. Give the class a name="),
    (("Orders.*",), {}, InvalidEventName, r"handler 'shop.handle': the wildcard 'Orders.\*' is not valid"),
    ((Placed,), {"timeout": 0}, ContradictoryOptions, r"timeout=0 leaves no time to run"),
    ((Placed,), {"id": "a b"}, DeclarationError, r"handler id 'a b': an id is 1 to 200 letters"),
    ((Placed,), {"was": ("ö",)}, DeclarationError, r"handler id"),
    ((Placed,), {"was": "shop.old"}, ContradictoryOptions, r"was='shop.old' is not a list of ids. Write was=\["),
    ((Placed,), {"was": 3}, ContradictoryOptions, r"was=3 is not a list of ids"),
    ((Placed,), {"was": [3]}, DeclarationError, r"handler id 3: an id is 1 to 200 letters.*Give one with id="),
    ((Placed,), {"id": 3}, DeclarationError, r"handler id 3: an id is"),
    ((Placed,), {"id": ""}, DeclarationError, r"handler id '': an id is"),
    (
        (Placed,),
        {"retry": 5},
        ContradictoryOptions,
        r"'shop.handle': retry=5 is not a policy. .*Retry\(max_attempts=5\)",
    ),
    ((Placed,), {"retry": "no"}, ContradictoryOptions, r"retry='no' is not a policy. Write retry=Retry\("),
    ((Placed,), {"on_dead": "contineu"}, ContradictoryOptions, r"on_dead='contineu' is neither.*mean 'continue'\?"),
    ((Placed,), {"on_dead": None}, ContradictoryOptions, r"on_dead=None is neither 'park' nor 'continue'"),
    ((Placed,), {"timeout": "5"}, ContradictoryOptions, r"timeout='5' is not a number of seconds. Write timeout=5"),
    ((Placed,), {"timeout": True}, ContradictoryOptions, r"timeout=True is not a number"),
    ((Placed,), {"timeout": float("nan")}, ContradictoryOptions, r"timeout=nan leaves no time"),
    ((Placed,), {"timeout": float("inf")}, ContradictoryOptions, r"timeout=inf is longer than ten years"),
    ((Placed,), {"ordered": "no"}, ContradictoryOptions, r"ordered='no' is neither True nor False"),
    ((Placed,), {"idempotency_key": "x"}, ContradictoryOptions, r"idempotency_key='x' is not a function of the event"),
]


@pytest.mark.parametrize(("arguments", "options", "kind", "told"), WRONG_HANDLERS)
def test_a_handler_declared_wrongly_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        on(*arguments, **options)


def test_the_models_own_keywords_are_taken_too() -> None:
    event = declare(name="shop.thing.done", extra="allow").model_validate({"order": "b", "colour": "red"})
    assert event.model_dump() == {"order": "b", "colour": "red"}


def test_checkers_are_told_the_keywords_that_there_are() -> None:
    source = Path(inspect.getfile(Event)).read_text()
    body = source.partition("class EventKeywords(")[2].partition("\n\n\n")[0]
    assert tuple(re.findall(r"^        (\w+): ", body, re.MULTILINE)) == OPTION_NAMES


def test_one_function_may_be_declared_for_several_events() -> None:
    module, other = Module("shop"), declare(name="shop.thing.done")

    async def handle(event: Any) -> None: ...

    assert module.on(other, id="shop.second")(module.on(Placed)(handle)) is handle
    declared = {(one.id, one.event_class, one.function) for one in module.handlers}
    assert declared == {("shop.handle", Placed, handle), ("shop.second", other, handle)}
    Events([module])
    module.on("billing.*")(handle)
    with pytest.raises(DuplicateHandler, match=r"'shop.handle'.*id="):
        Events([module])


def test_what_is_declared_twice_is_refused_when_modules_are_assembled() -> None:
    with pytest.raises(DuplicateHandler, match=r"'shop.handle': .*test_declarations.py:\d+ and .*Rename one function"):
        Events([on(Placed), on(Placed)])
    first, second = declare(name="shop.thing.done"), declare(name="shop.thing.done")
    with pytest.raises(DuplicateEvent, match=r"both declare the event 'shop.thing.done', version 1. Rename one"):
        Events([on(first, id="a"), on(second, id="b")])


@pytest.mark.parametrize("slip", ["placd", "placedd", "plaxed", "palced", "placde"])
def test_a_name_that_is_nearly_known_is_refused(slip: str) -> None:
    with pytest.raises(UnknownEvent, match=rf"'shop.order.{slip}'.*Did you mean 'shop.order.placed'\?.*wildcard"):
        Events([on(f"shop.order.{slip}", id="shop.other")])


@pytest.mark.parametrize("name", ["shop.order.paid", "shop.order.replaced", "shop.order.placed2", "shop.orders.paced"])
def test_a_name_of_an_event_that_others_publish_is_taken(name: str) -> None:
    Events([on(Placed), on(name, id="shop.other")])


def test_a_class_of_another_place_is_no_reason_to_refuse_a_name() -> None:
    local = declare(name="shop.parcel.stored")
    Events([on("shop.parcel.storde")])
    assert local


def test_what_is_no_function_cannot_handle() -> None:
    with pytest.raises(InvalidHandler, match=r"handler 'shop.handler': 3 is not a function"):
        Module("shop").on("shop.*")(3)  # type: ignore[type-var]


def test_a_decorator_without_brackets_is_refused_at_once() -> None:
    module = Module("shop")

    async def handle(event: Placed) -> None: ...

    with pytest.raises(InvalidHandler, match=r"_declarations.py:\d+, in place.*brackets.*@module.on\(OrderPlaced\)"):
        module.on(handle)  # type: ignore[call-overload]
    assert module.handlers == []


def test_sync_sessions_must_be_given_to_be_asked_for() -> None:
    module = Module("shop")

    @module.on(Placed)
    def handle(event: Placed, session: SyncHandlerSession) -> None: ...

    with pytest.raises(InvalidHandler, match=r"Events\(sync_sessions=\.\.\.\) was not given"):
        Events([module])


@pytest.mark.parametrize("name", ["Orders", "", "1a", "a.b", None])
def test_a_module_needs_a_plain_name(name: Any) -> None:
    with pytest.raises(DeclarationError, match="lower-case letters, digits and underscores"):
        Module(name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(0),
        lambda: fixed(-1),
        lambda: fixed(float("nan")),
        lambda: fixed(float("inf")),
        lambda: exponential(10, cap=1),
        lambda: exponential(1, cap=1e300),
        lambda: fixed("5"),  # type: ignore[arg-type]
        lambda: exponential(cap=None),  # type: ignore[arg-type]
        lambda: Retry("3"),  # type: ignore[arg-type]
        lambda: Retry(3, 5),  # type: ignore[arg-type]
        lambda: Retry(retry_on="ValueError"),  # type: ignore[arg-type]
        lambda: Retry(give_up_on=[ValueError]),  # type: ignore[arg-type]
    ],
)
def test_a_retry_policy_that_cannot_work_is_refused(make: Any) -> None:
    with pytest.raises(ContradictoryOptions):
        make()


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (Retry, {"attempts": 3}, r"Retry\(\) has no option 'attempts'. Did you mean 'max_attempts'\? The options are"),
        (exponential, {"caps": 3}, r"exponential\(\) has no option 'caps'. Did you mean 'cap'\?"),
        (fixed, {"delay": 3, "colour": 1}, r"'colour'. The options are delay, jitter\."),
        (Breaker, {"treshold": 3}, r"Breaker\(\) has no option 'treshold'. Did you mean 'threshold'\?"),
        (Module, {"name": "shop", "midleware": []}, r"Module\(\) has no option 'midleware'. Did you mean 'middleware'"),
        (Events, {"autorize": None}, r"Events\(\) has no option 'autorize'. Did you mean 'authorize'\?"),
        (
            Module("shop").upcast,
            {"event": Placed, "from_verison": 1},
            r"Module.upcast\(\).*Did you mean 'from_version'\?",
        ),
        (emits, {"create": Placed}, r"emits\(\) has no option 'create'. Did you mean 'created'\?"),
    ],
)
def test_a_misspelt_keyword_is_told_with_the_near_miss(make: Any, given: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownOption, match=told):
        make(**given)


def test_tools_see_the_signature_of_what_names_its_options() -> None:
    assert list(inspect.signature(Retry).parameters) == ["max_attempts", "backoff", "retry_on", "give_up_on"]
    assert "authorize" in inspect.signature(Events).parameters
    assert exponential.__doc__


def test_several_events_in_one_decorator_are_refused() -> None:
    with pytest.raises(InvalidHandler, match=r"module 'shop': on\(\) takes one event, and was given 2. Write"):
        Module("shop").on(Placed, Placed)  # type: ignore[call-overload]


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 1e300])
def test_retry_later_takes_a_delay_that_a_database_can_hold(delay: float) -> None:
    with pytest.raises(ValueError, match="0 seconds to ten years"):
        RetryLater(delay)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"retries": 3},
            r"module 'shop': on\(\) has no option 'retries'. Did you mean 'retry'\? The options are id, retry",
        ),
        ({"time_out": 3}, r"Did you mean 'timeout'\?"),
        ({"colour": 3}, r"has no option 'colour'. The options are id, retry, timeout, idempotency_key"),
    ],
)
def test_an_option_that_a_handler_lacks(options: dict[str, Any], told: str) -> None:
    module: Any = Module("shop")
    with pytest.raises(UnknownOption, match=told):
        module.on(Placed, **options)
