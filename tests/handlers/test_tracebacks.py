"""What is kept of a failure begins with the user's own code, unless it was the library that failed."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends
from sqlalchemy import text

from fastapi_events import Delivery, EventPublisher, HandlerSession, Module, Retry
from tests.delivery.stage import Placed, Stage


def give_up(event: Placed) -> None:
    raise LookupError(f"no order {event.order}")


async def simple(event: Placed) -> None:
    give_up(event)


async def direct(event: Placed, delivery: Delivery) -> None:
    give_up(event)


async def with_session(event: Placed, session: HandlerSession) -> None:
    give_up(event)


def in_thread(event: Placed) -> None:
    give_up(event)


async def caused(event: Placed) -> None:
    try:
        give_up(event)
    except LookupError as error:
        raise ValueError("an order without rows") from error


async def stock() -> AsyncIterator[int]:
    give_up(Placed(order="a"))
    yield 1


async def with_dependency(event: Placed, stock: Annotated[int, Depends(stock)]) -> None: ...


async def recorded(stage: Stage, handler: Any) -> list[tuple[str, str]]:
    """File and function of every frame that was kept of a handler's failure."""
    module = Module("shop")
    module.on(Placed, id="shop.handle", retry=Retry(1))(handler)
    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    trace = await stage.value("SELECT traceback FROM events.attempt")
    return re.findall(r'File ".*?([\w.]+/[\w.]+)", line \d+, in (\S+)', trace)


@pytest.mark.parametrize("handler", [simple, direct, with_session, in_thread, caused])
async def test_it_begins_with_the_handler(stage: Stage, handler: Any) -> None:
    frames = await recorded(stage, handler)
    assert frames[:2] == [("handlers/test_tracebacks.py", handler.__name__), ("handlers/test_tracebacks.py", "give_up")]
    assert {file for file, _ in frames} == {"handlers/test_tracebacks.py"}


async def test_or_with_what_the_handler_depends_on(stage: Stage) -> None:
    frames = await recorded(stage, with_dependency)
    assert ("handlers/test_tracebacks.py", "stock") in frames
    assert not [file for file, _ in frames if file.startswith("engine/")]


async def test_frames_of_the_library_below_the_handler_stay(stage: Stage) -> None:
    async def publishes_nonsense(event: Placed, publish: EventPublisher) -> None:
        await publish("no event")  # type: ignore[arg-type]

    frames = await recorded(stage, publishes_nonsense)
    assert frames[0] == ("handlers/test_tracebacks.py", "publishes_nonsense")
    assert frames[-1][0].startswith(("api/", "model/", "publishing/"))


async def test_the_librarys_own_failure_is_kept_in_full(stage: Stage) -> None:
    """A constraint that is checked at the commit, which the library does."""
    await stage.rows("DROP TABLE IF EXISTS promise")
    await stage.rows(
        "CREATE TABLE promise (id int PRIMARY KEY, of int REFERENCES promise DEFERRABLE INITIALLY DEFERRED)"
    )

    async def breaks_a_promise(event: Placed, session: HandlerSession) -> None:
        await (await session.connection()).execute(text("INSERT INTO promise VALUES (1, 2)"))

    try:
        frames = await recorded(stage, breaks_a_promise)
    finally:
        await stage.rows("DROP TABLE promise")
    assert frames[0][0].startswith("engine/")
