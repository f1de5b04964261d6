"""``events.connect()``: readings and actions on a database where nothing is started and nobody registers."""

from typing import Any

import pytest

from fastapi_events import Event, Events, EventsSettings, Module, Retry
from fastapi_events.errors import NotStarted, OperationRefused, SchemaOutOfDate
from tests.conftest import NewDatabase
from tests.delivery.stage import SLOW, Placed, Stage, publish, until


def failing(fails: list[bool], seen: list[int]) -> Module:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def place(event: Placed) -> None:
        if fails:
            raise LookupError("nothing on the shelf")
        seen.append(event.number)

    return module


async def test_nothing_is_registered_and_nothing_is_started(stage: Stage) -> None:
    events = stage.make(failing([], []))
    tables = ("consumer_group", "handler", "worker", "cursor_log", "operator_action")
    async with events.connect() as operators:
        assert await operators.observe.handlers() == []
        assert (await operators.observe.events()).events == ()
        done = await operators.operations.redrive_matching(
            handler="shop.place", changed_before=(await operators.observe.dead_letters()).cut_off, actor="test"
        )
        assert (done.asked, done.changed) == (0, 0)
        for table in tables:
            assert await stage.value(f"SELECT count(*) FROM events.{table}") == 0, table
        with pytest.raises(NotStarted):
            events.runtime  # noqa: B018
        with pytest.raises(NotStarted):
            events.observe  # noqa: B018


async def test_a_started_instance_goes_on_as_it_was(stage: Stage) -> None:
    events = await stage.idle(failing([], []))
    before = await stage.rows("SELECT id, started_at FROM events.worker")
    async with events.connect() as operators:
        assert [handler.name for handler in await operators.observe.handlers()] == ["shop.place"]
    assert await stage.rows("SELECT id, started_at FROM events.worker") == before
    await publish(events, [Placed(order="a")])
    assert await events.drain_once() == 1


async def test_workers_are_told_of_a_redrive(stage: Stage) -> None:
    fails, seen = [True], list[int]()
    module = failing(fails, seen)
    worker = await stage.running(module, **SLOW)
    await publish(worker, [Placed(order="a", number=7)])
    await until(lambda: stage.deliveries("dead"), "the dead letter")
    fails.clear()
    async with stage.make(Module("nothing")).connect() as operators:
        page = await operators.observe.dead_letters()
        await operators.operations.redrive([page.dead_letters[0].id], actor="test")
    await until(lambda: seen == [7], "the redriven event")


async def test_a_database_without_the_schema_is_refused(new_database: NewDatabase) -> None:
    events = Events(settings=EventsSettings(database_url=await new_database(schema=False)))
    with pytest.raises(SchemaOutOfDate, match="is not installed"):
        async with events.connect():
            pass


class Left(Event, name="shop.cart.left"):
    number: int = 0


def leaving(name: str) -> Module:
    module = Module("shop")

    @module.on(Left, id=name)
    async def leave(event: Left) -> None: ...

    return module


async def reasons(stage: Stage) -> list[tuple[Any, ...]]:
    return [(row["handler"], row["state"], row["reason"]) for row in await stage.deliveries()]


async def test_a_retired_handler_gets_no_new_deliveries_and_keeps_those_it_has(stage: Stage) -> None:
    old = await stage.idle(leaving("shop.old"))
    await old.stop()
    new = await stage.idle(leaving("shop.new"))
    await publish(new, [Left(number=1)])
    await new.drain_once()
    assert await reasons(stage) == [("shop.old", "waiting", "no_handler")]
    async with new.connect() as operators:
        retired = await operators.handlers.retire("shop.old", actor="test")
    assert (retired.now, retired.processes) == (True, 0)
    await publish(new, [Left(number=2)])
    await new.drain_once()
    assert await reasons(stage) == [("shop.old", "waiting", "no_handler")]


async def test_a_handler_that_comes_back_is_in_use_again(stage: Stage) -> None:
    old = await stage.idle(leaving("shop.old"))
    await old.stop()
    async with old.connect() as operators:
        await operators.handlers.retire("shop.old", actor="test")
    again = await stage.idle(leaving("shop.old"))
    await again.stop()
    new = await stage.idle(leaving("shop.new"))
    await publish(new, [Left()])
    await new.drain_once()
    assert await reasons(stage) == [("shop.old", "waiting", "no_handler")]


async def test_a_handler_that_a_live_process_runs_is_not_retired_by_mistake(stage: Stage) -> None:
    events = await stage.running(leaving("shop.old"))
    async with events.connect() as operators:
        with pytest.raises(OperationRefused, match="1 live process of the group 'app' runs"):
            await operators.handlers.retire("shop.old", actor="test")
        with pytest.raises(OperationRefused, match="actor is empty"):
            await operators.handlers.retire("shop.old", actor=" ")
        assert (await operators.handlers.retire("shop.old", actor="test", although_live=True)).processes == 1
    assert await stage.value("SELECT retired_at IS NOT NULL FROM events.handler")


async def test_what_waits_is_given_up_for_retired_handlers_alone_and_never_under_a_worker(stage: Stage) -> None:
    old = await stage.idle(leaving("shop.old"))
    await old.stop()
    new = await stage.idle(leaving("shop.new"))
    await publish(new, [Left(number=n) for n in range(3)])
    await new.drain_once()
    async with new.connect() as operators:
        discard = operators.handlers.discard_waiting
        assert await discard("shop.old", actor="test", reason="gone") == 0
        await operators.handlers.retire("shop.old", actor="test")
        with pytest.raises(OperationRefused, match="needs a reason"):
            await discard("shop.old", actor="test", reason=" ")
        held = await stage.value(
            "UPDATE events.parked_key SET worker_id = gen_random_uuid(), due_at = now() + interval '1 minute' "
            "WHERE slot = (SELECT max(slot) FROM events.parked_key) RETURNING slot"
        )
        assert await discard("shop.old", actor="test", reason="gone", limit=2) == 2
        assert await discard("shop.old", actor="test", reason="gone") == 0
        assert [row["slot"] for row in await stage.deliveries("waiting")] == [held]
        await stage.rows("UPDATE events.parked_key SET due_at = now() WHERE worker_id IS NOT NULL")  # its lease ran out
        assert await discard("shop.old", actor="test", reason="gone") == 1
    assert await stage.value("SELECT count(*) FROM events.parked_key WHERE blocked") == 0
    again = await stage.idle(leaving("shop.old"))
    assert await again.drain_once() == 0
    await publish(again, [Left(number=9)])
    assert await again.drain_once() == 1
