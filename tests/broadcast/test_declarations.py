"""What contradicts a broadcast handler is refused where it is written, or when modules are assembled."""

from datetime import timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends

from fastapi_events import Event, Events, HandlerConnection, HandlerSession, Module, Retry, SyncHandlerSession
from fastapi_events.errors import ContradictoryOptions, InvalidHandler
from tests.delivery.stage import Placed


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("retry", Retry(max_attempts=1), "called once for an event"),
        ("idempotency_key", lambda event: "x", "nothing is recorded"),
        ("on_dead", "continue", "no dead letters"),
        ("breaker", False, "nothing of it is put off"),
        ("was", ["shop.old"], "no state that could follow"),
    ],
)
def test_what_only_a_recorded_handler_can_have(option: str, value: Any, why: str) -> None:
    module = Module("shop")
    options: dict[str, Any] = {option: value}
    with pytest.raises(
        ContradictoryOptions, match=rf"handler 'shop.hear': {option}= does not go.*{why}.*Leave {option}="
    ):

        @module.on(Placed, broadcast=True, **options)
        async def hear(event: Placed) -> None: ...

    assert module.handlers == []


@pytest.mark.parametrize("option", ["broadcast", "audit"])
def test_flags_are_flags(option: str) -> None:
    options: dict[str, Any] = {"broadcast": True, option: "yes"}
    with pytest.raises(ContradictoryOptions, match=rf"{option}='yes' is neither True nor False"):
        Module("shop").on("shop.*", id="x", **options)(lambda event: None)


def test_audit_needs_broadcast() -> None:
    with pytest.raises(ContradictoryOptions, match=r"audit=True without broadcast=True.*add broadcast=True"):
        Module("shop").on("shop.*", id="x", audit=True)(lambda event: None)


@pytest.mark.parametrize("kind", [HandlerSession, HandlerConnection, SyncHandlerSession])
@pytest.mark.parametrize("nested", [False, True])
def test_no_transaction_can_be_given(kind: type[Any], nested: bool) -> None:
    module = Module("shop")

    def inner(session: Any) -> None: ...

    async def hear(event: Placed, given: Any) -> None: ...

    inner.__annotations__["session"] = kind
    hear.__annotations__["given"] = Annotated[None, Depends(inner)] if nested else kind
    module.on(Placed, broadcast=True)(hear)
    with pytest.raises(
        InvalidHandler, match=rf"handler 'shop.hear' .*takes a {kind.__name__}.*Leave broadcast=True out"
    ):
        Events(modules=[module])


def test_what_goes_with_it() -> None:
    module = Module("shop")

    @module.on(Placed, broadcast=True, timeout=timedelta(seconds=3), ordered=False, id="shop.cache")
    async def hear(event: Placed) -> None: ...

    [handler] = module.handlers
    assert (handler.broadcast, handler.timeout, handler.ordered) == (True, 3.0, False)
    Events(modules=[module])


def test_one_function_may_be_both() -> None:
    module = Module("shop")

    @module.on(Placed, id="shop.locally", broadcast=True)
    @module.on(Placed)
    async def handle(event: Event) -> None: ...

    Events(modules=[module])
    assert [handler.broadcast for handler in module.handlers] == [False, True]
