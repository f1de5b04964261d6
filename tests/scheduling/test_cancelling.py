"""Taking a scheduled event back: with the transaction that does so, and with one outcome."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from fastapi_events import EventPublisher, HandlerSession, Module, Retry
from fastapi_events.errors import OperationRefused, OperationUnavailable, PublishError
from tests.delivery.stage import Placed, Stage, collecting, until
from tests.publishing.shop import Log, Noted
from tests.scheduling.test_moving import make_due
from tests.scheduling.test_publishing import scheduled, until_blocked
from tests.scheduling.ways import Way, Ways

FAR = timedelta(days=30)


async def wait_for(way: Way, **options: Any) -> Any:
    """An event that waits, committed."""
    async with way() as line:
        published = await line.publish(Noted(number=1), delay=FAR, **options)
        await line.commit()
    return published.event_id


async def test_with_the_transaction_or_not_at_all(way: Way, log: Log) -> None:
    waiting = await wait_for(way)
    async with way() as line:
        assert await line.cancel(waiting)
    assert len(await scheduled(log)) == 1
    async with way() as line:
        assert [await line.cancel(waiting), await line.cancel(waiting)] == [True, False]
        assert len(await scheduled(log)) == 1
        await line.commit()
    assert await scheduled(log) == []
    async with way() as line:
        assert [await line.cancel(waiting), await line.cancel(uuid4())] == [False, False]


async def test_with_its_savepoint(way: Way, log: Log) -> None:
    waiting = await wait_for(way)
    async with way() as line:
        with pytest.raises(KeyError):
            async with line.savepoint():
                assert await line.cancel(waiting)
                raise KeyError
        await line.commit()
    assert len(await scheduled(log)) == 1


async def test_one_of_the_same_transaction(way: Way, log: Log) -> None:
    async with way() as line:
        kept, undone, gone = [(await line.publish(Noted(number=n), delay=FAR)).event_id for n in range(3)]
        with pytest.raises(KeyError):
            async with line.savepoint():
                assert await line.cancel(undone)
                raise KeyError
        assert await line.cancel(gone)
        await line.commit()
    assert {row["id"] for row in await scheduled(log)} == {kept, undone}


async def test_what_is_in_the_log_is_not_cancelled(stage: Stage, way: Way, log: Log) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    past = (await events.publish(Placed(order="a", number=1), delay=60)).event_id
    plain = (await events.publish(Placed(order="a", number=2))).event_id
    await make_due(stage)
    await events.drain_once()
    async with way() as line:
        assert [await line.cancel(past), await line.cancel(plain)] == [False, False]
        await line.commit()
    assert sorted(seen) == [1, 2]


async def test_a_cancellation_under_way_is_passed_over(stage: Stage, ways: Ways, log: Log) -> None:
    """Undone it comes late, committed never; others are not held up."""
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    doubtful = (await events.publish(Placed(order="a", number=1), delay=60)).event_id
    await events.publish(Placed(order="b", number=2), delay=60)
    await make_due(stage)
    async with ways["AsyncSession"]() as line:
        assert await line.cancel(doubtful)
        await events.drain_once()
        assert seen == [2]
    async with ways["AsyncSession"]() as line:
        assert await line.cancel(doubtful)
        await events.drain_once()
        await line.commit()
    await events.drain_once()
    assert (seen, await scheduled(log)) == ([2], [])


async def test_a_loop_finds_what_was_left_by_a_cancellation_that_was_undone(stage: Stage, ways: Ways) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), poll_interval=600.0)
    doubtful = (await events.publish(Placed(order="a", number=1), delay=60)).event_id
    async with ways["AsyncSession"]() as line:
        assert await line.cancel(doubtful)
        due = (await events.publish(Placed(order="b", number=2), delay=0.05)).event_id
        assert due
        await until(lambda: seen == [2])
    await make_due(stage)
    events.runtime.wake.everything()
    await until(lambda: seen == [2, 1])


async def test_whoever_cancels_what_is_being_appended_waits_and_is_told_no(stage: Stage, ways: Ways, log: Log) -> None:
    events = await stage.idle(collecting([]))
    waiting = (await events.publish(Placed(order="a"), delay=60)).event_id
    await make_due(stage)
    async with events.runtime.database.acquire() as mover:
        transaction = mover.transaction()
        await transaction.start()
        assert await mover.fetch(events.runtime.statements["append_due_events"], 100, None)
        async with ways["AsyncSession"]() as line:
            cancelled = asyncio.create_task(line.cancel(waiting))
            await until_blocked(log)
            await transaction.commit()
            assert await cancelled is False
    assert [await scheduled(log), len(await log.rows())] == [[], 1]


async def test_in_handlers(stage: Stage) -> None:
    module, answers = Module("shop"), []
    events = stage.make(module)

    @module.on(Placed, id="with", retry=Retry(1))
    async def in_session(event: Placed, session: HandlerSession, publish: EventPublisher) -> None:
        answers.append(await publish.cancel(waiting))

    @module.on(Placed, id="without", retry=Retry(1))
    async def without(event: Placed, publish: EventPublisher) -> None:
        await publish.cancel(waiting)

    await events.start(drains=False)
    waiting = (await events.publish(Placed(order="b"), delay=60)).event_id
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert answers == [True]
    assert await stage.value("SELECT count(*) FROM events.scheduled_event") == 0
    [dead] = await stage.deliveries("dead")
    assert (dead["handler"], dead["error_type"]) == ("without", "fastapi_events.errors.NotInTransaction")
    assert "session: HandlerSession" in dead["error_message"]


async def test_what_is_no_id(ways: Ways) -> None:
    async with ways["AsyncSession"]() as line:
        with pytest.raises(PublishError, match=r"takes an event id.*not a str"):
            await line.cancel(str(uuid4()))


async def test_by_an_operator(stage: Stage, ways: Ways) -> None:
    events = await stage.idle(collecting([]))
    waiting = (await events.publish(Placed(order="a"), delay=60)).event_id
    operations = events.operations
    assert await operations.cancel_scheduled(str(waiting), actor="ann", reason="wrong customer") is True
    assert await operations.cancel_scheduled(waiting, actor="bob") is False
    assert await stage.value("SELECT count(*) FROM events.scheduled_event") == 0
    second, first = await operations.actions()
    assert (first.action, first.actor, first.target) == ("cancel_scheduled", "ann", str(waiting))
    assert first.details == {"reason": "wrong customer", "cancelled": True, "event": "shop.order.placed"}
    assert (second.actor, second.details["cancelled"]) == ("bob", False)
    with pytest.raises(OperationRefused, match="actor is empty"):
        await operations.cancel_scheduled(waiting, actor=" ")
    with pytest.raises(OperationRefused, match="no event id"):
        await operations.cancel_scheduled("x", actor="ann")


async def test_an_operator_does_not_wait_for_somebody_elses_transaction(stage: Stage, ways: Ways) -> None:
    events = await stage.idle(collecting([]))
    waiting = (await events.publish(Placed(order="a"), delay=60)).event_id
    async with ways["AsyncSession"]() as line:
        assert await line.cancel(waiting)
        with pytest.raises(OperationUnavailable, match="Nothing was changed; try again"):
            await events.operations.cancel_scheduled(waiting, actor="ann")
