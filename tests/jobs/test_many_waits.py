"""However many runs wait for events, each look is a bounded one, and touches only waits that it ends."""

import asyncpg
import pytest

from fastapi_events import JobContext, Module, Retry
from fastapi_events.store import waits
from tests.delivery.stage import SLOW, Placed, Stage, until, within


def waiting(stage: Stage) -> Module:
    module = Module("shop")

    @module.job("shop.wait", retry=Retry(1))
    async def wait(job: JobContext[str]) -> int:
        return (await job.wait_for(Placed, key=job.input)).number

    return module


async def test_waits_are_walked_to_their_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "LOOKED_AT", 2)
    module = waiting(stage)
    events = await stage.idle(module)
    names = ["a", "a", "b", "b", "c", "c", "a"]
    runs = await events.jobs.start_many(events.registry.jobs["shop.wait"], names)
    await within(events.drain_once())
    assert await stage.value("SELECT count(*) FROM events.run_wait") == len(names)
    await events.publish(Placed(order="c", number=3))
    await events.publish(Placed(order="a", number=1))
    await within(events.drain_once())
    states = [(await events.jobs.get(run)).state for run in runs]
    assert states == ["completed", "completed", "pending", "pending", "completed", "completed", "completed"]
    await events.publish(Placed(order="b", number=2))
    await within(events.drain_once())
    assert [await events.jobs.result(run, timeout=5) for run in runs] == [1, 1, 2, 2, 3, 3, 1]
    assert await stage.value("SELECT count(*) FROM events.run_wait") == 0


async def test_a_run_that_is_locked_keeps_no_other_from_its_event(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "LOOKED_AT", 2)
    module = waiting(stage)
    events = await stage.running(module, **SLOW)
    runs = await events.jobs.start_many(events.registry.jobs["shop.wait"], ["a"] * 5)
    await until(lambda: stage.value("SELECT count(*) = 5 FROM events.run_queue WHERE state = 'w'"))
    first = min(run.run for run in runs)
    connection = await asyncpg.connect(stage.url)
    async with connection.transaction():
        await connection.execute("SELECT FROM events.run_queue WHERE run_id = $1 FOR UPDATE", first)
        await events.publish(Placed(order="a", number=1))
        others = [run for run in runs if run.run != first]
        assert [await within(events.jobs.result(run, timeout=10)) for run in others] == [1] * 4
        assert await stage.value("SELECT run_id FROM events.run_wait") == first  # the others were not waited for either
    await connection.close()
    assert await within(events.jobs.result(first, timeout=10)) == 1  # and nobody has said that it is free again


async def test_a_wait_that_is_not_over_is_not_written(stage: Stage) -> None:
    events = await stage.idle(waiting(stage))
    await events.jobs.start_many(events.registry.jobs["shop.wait"], ["a"] * 3)
    await within(events.drain_once())
    versions = "SELECT run_id, xmin::text, xmax::text, ctid::text FROM events.run_wait ORDER BY run_id"
    before = await stage.rows(versions)
    await events.publish(Placed(order="b"))
    await within(events.drain_once())
    assert len(before) == 3
    assert await stage.rows(versions) == before
