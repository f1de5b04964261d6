"""What memory does not do is refused by name, and nothing else suffers from it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from fastapi_events import Events, EventsSettings, HandlerConnection, Module
from fastapi_events.errors import NotOnMemory, SettingsError
from fastapi_events.testing import in_memory
from tests.delivery.stage import Placed, collecting

REFUSED: dict[str, Callable[[Events], Awaitable[Any]]] = {
    "overview": lambda events: events.observe.overview(),
    "handlers": lambda events: events.observe.handlers(),
    "workers": lambda events: events.observe.workers(),
    "dead_letter_groups": lambda events: events.observe.dead_letter_groups(),
    "log": lambda events: events.observe.log(),
    "groups": lambda events: events.observe.groups(),
    "payload.order:a": lambda events: events.observe.events("payload.order:a"),
    "after:2h": lambda events: events.observe.events("after:2h"),
    "pause": lambda events: events.operations.pause(actor="ann"),
    "resume": lambda events: events.operations.resume(handler="shop.note", actor="ann"),
    "reset_breaker": lambda events: events.operations.reset_breaker("shop.note", actor="ann"),
    "erase": lambda events: events.operations.erase("order", "a", actor="ann", reason="asked"),
    "replays": lambda events: events.operations.replays.preview("shop.note"),
    "set_pool": lambda events: events.operations.set_pool("events_change", 3, actor="ann"),
    "runs": lambda events: events.observe.runs(),
    "run": lambda events: events.observe.run(uuid4()),
    "jobs": lambda events: events.observe.jobs(),
    "pools": lambda events: events.observe.pools(),
    "schedules": lambda events: events.observe.schedules(),
    "remove_group": lambda events: events.operations.remove_group("other", actor="ann", reason="gone"),
}

INSTEAD = {"runs": "Read by events.jobs.list(job).", "run": "Read by events.jobs.get(run)."}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_only_postgresql_has_is_refused(what: str) -> None:
    events = Events([collecting([])])
    async with in_memory(events):
        await events.publish(Placed(order="a"))
        with pytest.raises(NotOnMemory) as caught:
            await REFUSED[what](events)
    assert what in str(caught.value)
    assert "PostgreSQL" in str(caught.value)
    assert INSTEAD.get(what, "") in str(caught.value)


async def test_the_services_of_postgresql_are_not_there() -> None:
    events = Events([collecting([])])
    async with in_memory(events):
        with pytest.raises(NotOnMemory, match=r"events\.runtime"):
            _ = events.runtime
        with pytest.raises(SettingsError, match="keeps its events in memory"):
            async with events.connect():
                pass


async def test_a_handler_that_memory_cannot_call_is_named_when_it_is_needed() -> None:
    seen = list[int]()
    module = collecting(seen)

    @module.on(Placed, id="fast")
    async def fast(event: Placed, connection: HandlerConnection) -> None: ...

    events = Events([module])
    async with in_memory(events):
        assert await events.drain_once() == 0
        await events.publish(Placed(order="a", number=1))
        await events.publish(Placed(order="a", number=2))
        with pytest.raises(NotOnMemory, match=r"handler 'fast': it takes a HandlerConnection"):
            await events.drain_once()
        assert seen == [1, 2]  # the others have been called
        assert await events.drain_once() == 0


async def test_a_drivers_own_connection_is_refused(database_url: str) -> None:
    events = Events([collecting([])])
    connection = await asyncpg.connect(database_url)
    try:
        async with in_memory(events), connection.transaction():
            with pytest.raises(NotOnMemory, match="publishing on a Connection"):
                await events.publish(Placed(order="a"), session=connection)
    finally:
        await connection.close()


async def test_nothing_connects_to_memory() -> None:
    events = Events([collecting([])], settings=EventsSettings(database_url="memory"))
    with pytest.raises(SettingsError, match="in the memory of one process"):
        async with events.connect():
            pass


async def test_filters_are_understood_or_refused() -> None:
    module = Module("shop")

    @module.on(Placed)
    async def sell(event: Placed) -> None: ...

    events = Events([module])
    async with in_memory(events):
        published = await events.publish(Placed(order="a"), tenant_id="acme")
        await events.drain_once()
        for where in (
            "name:shop.*", f"id:{published.event_id}", "aggregate:order/a", "tenant:acme", "status:done",
            "handler:shop.sell", "key:acme/order/a", f"correlation:{published.event_id}", "",
        ):  # fmt: skip
            assert len((await events.observe.events(where)).events) == 1, where
        for where in ("name:mail.*", "aggregate:order/b", "tenant:other", "status:dead", "handler:shop.other"):
            assert (await events.observe.events(where)).events == (), where
        assert (await events.observe.dead_letter_count("", cut_off=datetime.now(UTC))) == 0
