"""What handlers may ask for: FastAPI's dependencies and fast-depends' own, filled without a request."""

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import fast_depends
import pytest
from fastapi import Depends, Header, Query, Request

from fastapi_events import (
    Delivery,
    EventPublisher,
    Events,
    HandlerSession,
    Module,
    Publisher,
    Retry,
    SessionDep,
    SyncEventPublisher,
    SyncPublisher,
    SyncSessionDep,
    fixed,
    publisher_on,
    sync_publisher_on,
)
from fastapi_events.errors import InvalidHandler
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish

TRACE: list[str] = []
REQUEST: ContextVar[str] = ContextVar("request")


def get_prefix() -> str:
    TRACE.append("prefix")
    return "no."


class Numbers:
    def __init__(self, prefix: Annotated[str, Depends(get_prefix)]) -> None:
        self.prefix = prefix

    def write(self, number: int) -> str:
        return f"{self.prefix}{number}"


async def connect() -> AsyncIterator[str]:
    TRACE.append("open")
    try:
        yield "line"
        TRACE.append("done")
    except ValueError:
        TRACE.append("failed")
        raise
    finally:
        TRACE.append("closed")


def plain_generator(line: Annotated[str, Depends(connect)]) -> Iterator[str]:
    yield f"{line}!"
    TRACE.append("plain closed")


@pytest.fixture(autouse=True)
def _clear() -> None:
    TRACE.clear()


@pytest.mark.parametrize("depends", [Depends, fast_depends.Depends], ids=["fastapi", "fast_depends"])
async def test_dependencies_are_nested_cached_per_delivery_and_closed_after_it(stage: Stage, depends: Any) -> None:
    module, seen = Module("shop"), []

    def twice(prefix: str = depends(get_prefix)) -> str:
        return prefix * 2

    @module.on(Placed)
    async def handle(
        event: Placed,
        line: Annotated[str, depends(connect)],
        loud: Annotated[str, depends(plain_generator)],
        double: str = depends(twice),
        prefix: str = depends(get_prefix),
        optional: int = 7,
    ) -> None:
        TRACE.append("handler")
        seen.append((line, loud, double, prefix, optional))

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert seen == [("line", "line!", "no.no.", "no.", 7)]
    assert TRACE == ["open", "prefix", "handler", "plain closed", "done", "closed"]
    await events.publish(Placed(order="b"))
    await events.drain_once()
    assert TRACE.count("open") == 2


async def test_a_class_is_a_dependency_and_use_cache_can_be_refused(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(
        event: Placed,
        numbers: Annotated[Numbers, Depends()],
        again: Annotated[str, Depends(get_prefix, use_cache=False)],
    ) -> None:
        seen.append(numbers.write(event.number) + again)

    events = await stage.idle(module)
    await events.publish(Placed(order="a", number=3))
    await events.drain_once()
    assert seen == ["no.3no."]
    assert TRACE == ["prefix", "prefix"]


async def test_a_yielding_dependency_sees_the_handlers_error(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, line: Annotated[str, Depends(connect)]) -> None:
        raise ValueError("broken")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert TRACE == ["open", "failed", "closed"]
    assert len(await stage.deliveries("dead")) == 1


async def test_a_dependency_may_take_what_the_library_gives_and_shares_the_handlers_transaction(stage: Stage) -> None:
    module = Module("shop")

    async def audit(session: HandlerSession, delivery: Delivery, publish: EventPublisher) -> int:
        await effect(session, "audit", delivery.attempt)
        await publish(Shipped(order="from a dependency"))
        return delivery.attempt

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, attempt: Annotated[int, Depends(audit)]) -> None:
        if attempt == 1:
            raise ValueError("not yet")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert [row["number"] for row in await stage.rows("SELECT number FROM effect")] == [2]
    assert await stage.value("SELECT count(*) FROM events.event WHERE name = 'shop.order.shipped'") == 1


async def test_a_dependency_that_fails_is_an_attempt(stage: Stage) -> None:
    module, calls = Module("shop"), []

    def broken() -> str:
        calls.append(1)
        raise ValueError("no connection to the mail server")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, line: Annotated[str, Depends(broken)]) -> None: ...

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert (dead["error_message"], len(calls)) == ("no connection to the mail server", 2)


def of_request(request: Request) -> str:
    return str(request.url)


def by_way_of(url: Annotated[str, Depends(of_request)]) -> str:
    return url


def of_query(page: Annotated[int, Query()]) -> int:
    return page


def of_query_default(page: int = Query(1)) -> int:
    return page


def of_header(token: str = Header("none")) -> str:
    return token


@pytest.mark.parametrize("how", [of_request, by_way_of, of_query, of_query_default, of_header])
def test_a_dependency_that_needs_a_request_is_refused_at_assembly(how: Any) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed, thing: Annotated[Any, Depends(how)]) -> None: ...

    with pytest.raises(InvalidHandler) as caught:
        Events([module])
    message = str(caught.value)
    assert "handler 'shop.handle'" in message
    assert "parameter 'thing'" in message
    assert {of_query: "'page'", of_query_default: "'page'", of_header: "'token'"}.get(
        how, "'request' (Request)"
    ) in message
    assert "There is no request here" in message


def test_what_cannot_be_given_is_refused_with_what_can() -> None:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed, mailer: Numbers) -> None: ...

    given = "Delivery, EventPublisher, HandlerConnection, HandlerSession"
    with pytest.raises(InvalidHandler, match=rf"parameter 'mailer' \(Numbers\).*{given}"):
        Events([module])


def test_signatures_that_can_never_work_are_refused() -> None:
    def check(function: Any, pattern: str) -> None:
        module = Module("shop")
        module.on(Placed, id="shop.handle")(function)
        with pytest.raises(InvalidHandler, match=pattern):
            Events([module])

    async def nothing() -> None: ...

    async def keyword_only(*, event: Placed) -> None: ...

    def in_thread(event: Placed, session: HandlerSession) -> None: ...

    async def nameless(event: Placed, thing: Annotated[str | None, Depends()]) -> None: ...

    check(nothing, "first parameter is the event")
    check(keyword_only, "first parameter is the event")
    check(in_thread, "cannot use a HandlerSession.*SyncHandlerSession")
    check(nameless, "Depends")


async def test_context_variables_that_a_handler_sets_do_not_reach_the_next_delivery(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append((event.number, REQUEST.get()))
        REQUEST.set(str(event.number))

    REQUEST.set("the application's")
    events = await stage.idle(module, lanes=["change"], concurrency={"events_change": 1})
    await publish(events, [Placed(order=order, number=number) for number, order in enumerate("aabbc")])
    await events.drain_once()
    assert sorted(seen) == [(number, "the application's") for number in range(5)]


def through_a_service(publish: Publisher) -> EventPublisher:
    return publish


OwnPublisher = Annotated[EventPublisher, Depends(publisher_on(get_prefix))]
OwnSyncPublisher = Annotated[SyncEventPublisher, Depends(sync_publisher_on(get_prefix))]


@pytest.mark.parametrize(
    ("annotation", "instead"),
    [
        (Publisher, "EventPublisher"),
        (OwnPublisher, "EventPublisher"),
        (SyncPublisher, "SyncEventPublisher"),
        (OwnSyncPublisher, "SyncEventPublisher"),
        (SessionDep, "HandlerSession"),
        (SyncSessionDep, "SyncHandlerSession"),
        (Annotated[EventPublisher, Depends(through_a_service)], "EventPublisher"),
    ],
)
def test_what_endpoints_take_is_refused_with_what_handlers_take(annotation: Any, instead: str) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed, thing: annotation) -> None: ...

    with pytest.raises(InvalidHandler) as caught:
        Events([module])
    message = str(caught.value)
    assert "handler 'shop.handle'" in message
    assert "parameter 'thing'" in message
    assert f"from a dependency of endpoints, which needs a request. In a handler take {instead}, without" in message


def give(publish: EventPublisher) -> EventPublisher:
    return publish


class Announcer:
    def __init__(self, publish: EventPublisher) -> None: ...


@pytest.mark.parametrize("annotation", [EventPublisher, Annotated[EventPublisher, Depends(give)]])
def test_a_publisher_that_a_def_handler_cannot_await_is_refused(annotation: Any) -> None:
    module = Module("shop")

    @module.on(Placed)
    def handle(event: Placed, publish: annotation) -> None: ...

    with pytest.raises(
        InvalidHandler, match=r"'shop.handle' .* def handler takes an EventPublisher, 'publish'"
    ) as caught:
        Events([module])
    assert "the event would be lost. Make the handler async def, or take a SyncEventPublisher." in str(caught.value)


def test_a_def_handler_may_leave_the_awaiting_to_what_it_is_given() -> None:
    module = Module("shop")

    @module.on(Placed)
    def handle(event: Placed, announcer: Annotated[Announcer, Depends()], publish: SyncEventPublisher) -> None: ...

    @module.on(Placed)
    async def on_the_loop(event: Placed, publish: EventPublisher, given: Annotated[Any, Depends(give)]) -> None: ...

    Events([module])
