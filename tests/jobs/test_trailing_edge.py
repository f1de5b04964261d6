"""One run waits while one is at work, whoever asks for the next: people, events, the clock, operators."""

import contextlib
from typing import Any

import pytest

from fastapi_events import Concurrency, Dedupe, Events, JobContext, Module, Trigger
from fastapi_events.errors import RunConflict
from tests.concurrency.test_fencing import Gate
from tests.delivery.stage import SLOW, Placed, Stage, until, within
from tests.jobs.test_schedules import make_due, ticking


def indexing(seen: list[str], gate: Gate) -> Module:
    """A job that is started in every way there is; its first run stops at the gate."""
    module = Module("shop")

    @module.every("0 * * * *", input="by the clock")
    @module.job(
        "shop.index", concurrency=Concurrency(), dedupe=Dedupe(key=lambda _given: "all", until="started"),
        triggers=[Trigger(Placed, map=lambda event: event.order)],
    )  # fmt: skip
    async def index(job: JobContext[str]) -> None:
        seen.append(job.input)
        await gate.wait()

    return module


async def states(stage: Stage) -> list[str]:
    rows = await stage.rows("SELECT state FROM events.run_queue ORDER BY number")
    return [row["state"].decode() for row in rows]


@pytest.mark.parametrize("waiting", ["person", "event", "clock", "anew"])
async def test_what_waits_stands_for_all_that_ask_meanwhile(stage: Stage, waiting: str) -> None:
    seen: list[str] = []
    gate = Gate()
    events = await stage.running(indexing(seen, gate), **SLOW)
    job: Any = events.registry.jobs["shop.index"]
    canceled = await events.jobs.start(job, "anew", delay=3600)
    await events.jobs.cancel(canceled)
    await events.jobs.start(job, "first")
    await within(gate.reached.wait())

    async def ask(source: str) -> bool:
        """Whether that has made a run wait."""
        before = await stage.value("SELECT count(*) FROM events.run_queue")
        await SOURCES[source](stage, events, canceled)
        return bool(await stage.value("SELECT count(*) FROM events.run_queue") > before)

    assert await ask(waiting)
    assert await states(stage) in (["x", "g"], ["g", "x"])
    assert [await ask(source) for source in SOURCES] == [False] * 4
    assert seen == ["first"]
    gate.go.set()
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_queue"))
    assert len(seen) == 2


async def by_person(_stage: Stage, events: Events, _run: Any) -> None:
    await events.jobs.start(events.registry.jobs["shop.index"], "by a person")


async def by_event(stage: Stage, events: Events, _run: Any) -> None:
    published = await events.publish(Placed(order="by an event"))

    async def dealt_with() -> bool:
        detail = await events.observe.event(published.event_id)
        return detail is not None and detail.status == "done"

    await until(dealt_with)


async def by_clock(stage: Stage, events: Events, _run: Any) -> None:
    await make_due(stage)
    await ticking(events).look()


async def anew(_stage: Stage, events: Events, run: Any) -> None:
    with contextlib.suppress(RunConflict):
        await events.jobs.retry(run)


SOURCES: dict[str, Any] = {"person": by_person, "event": by_event, "clock": by_clock, "anew": anew}
