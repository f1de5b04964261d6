"""A process asks one question each poll interval: it finds whatever there is to do, and nothing is asked beside."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest

from fastapi_events import Concurrency, Dedupe, Events, JobContext, Module, RateLimit
from fastapi_events.store import work
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements
from tests.delivery.stage import Pinged, Placed, Stage, until

OF_JOBS = {
    Statements()[f"jobs/{path.name.removesuffix('.sql')}"]: path.name.removesuffix(".sql")
    for path in files("fastapi_events.store").joinpath("sql", "jobs").iterdir()
} | {
    Statements()[name]: name for name in ("next_scheduled", "append_due_events")
}  # fmt: skip
"""What asks for work by itself, by the texts of the statements."""


def shop(seen: list[Any]) -> Module:
    """A module with a job of each kind, in pools of their own, that note what they have done."""
    module = Module("shop")

    @module.on(Pinged)
    async def ping(event: Pinged) -> None:
        seen.append(f"ping {event.number}")

    @module.every("0 0 29 2 *", id="shop.nightly", input=-1)
    @module.job("shop.plain", pool="plain")
    async def plain(job: JobContext[int]) -> None:
        seen.append(job.input)

    @module.job("shop.patient", pool="patient")
    async def patient(job: JobContext[str]) -> None:
        placed = await job.wait_for(Placed, key=job.input)
        seen.append(placed.number)

    @module.job("shop.limited", pool="limited", concurrency=Concurrency(), dedupe=Dedupe(key=str))
    async def limited(job: JobContext[int]) -> None:
        seen.append(job.input)

    @module.job("shop.rated", pool="limited", rate_limit=RateLimit(100, per=timedelta(seconds=1)))
    async def rated(job: JobContext[int]) -> None:
        seen.append(job.input)

    return module


async def start(events: Events, name: str, given: Any, **options: Any) -> Any:
    return await events.jobs.start(events.registry.jobs[f"shop.{name}"], given, **options)


class Quiet:
    """A process that works, and one beside it of which it hears nothing."""

    def __init__(self, stage: Stage, seen: list[Any]) -> None:
        self.stage, self.seen = stage, seen

    async def open(self, **settings: Any) -> "Quiet":
        self.other = await self.stage.idle(shop(self.seen), notify="off")
        self.events = await self.stage.running(shop(self.seen), **settings)
        await at_rest(self.events)
        return self


async def at_rest(events: Events) -> None:
    """Return when every loop waits for something, and has looked before."""
    work: Any = events.runtime.jobs
    work, wake = work.work, events.runtime.wake.runs
    flags = [*wake.pools, wake.due, wake.events]
    await until(lambda: not any(flag.is_set() for flag in flags))
    await until(lambda: not any(pool._may_have_more for pool in work.pools))
    await until(lambda: work._due._next_look > asyncio.get_running_loop().time())


async def ready(quiet: Quiet) -> Any:
    await start(quiet.other, "plain", 1)


async def later(quiet: Quiet) -> Any:
    await start(quiet.other, "plain", 1, delay=0.3)


async def sooner(quiet: Quiet) -> Any:
    await start(quiet.events, "plain", 2, delay=3600)
    await start(quiet.other, "plain", 1, delay=0.3)


async def lost(quiet: Quiet) -> Any:
    await start(quiet.other, "plain", 1, delay=3600)
    await quiet.stage.rows(
        "UPDATE events.run_queue SET state = 'x', worker_id = gen_random_uuid(), "
        "due_at = clock_timestamp() - interval '1 minute'"
    )


async def gated(quiet: Quiet) -> Any:
    await start(quiet.other, "limited", 1)


async def stuck(quiet: Quiet) -> Any:
    await start(quiet.other, "limited", 1, delay=3600)
    await quiet.stage.rows("UPDATE events.run_queue SET state = 'g', due_at = NULL, gate = 'c' || limit_key")


async def rated(quiet: Quiet) -> Any:
    await start(quiet.other, "rated", 1)


async def tick(quiet: Quiet) -> Any:
    await quiet.stage.rows("UPDATE events.schedule SET input = '1', next_at = clock_timestamp()")


async def scheduled(quiet: Quiet) -> Any:
    await quiet.other.publish(Pinged(number=1), delay=0.2)


async def awaited(quiet: Quiet) -> Any:
    started = await start(quiet.events, "patient", "a")
    await until(lambda: quiet.stage.value("SELECT count(*) FROM events.run_queue WHERE state = 'w'"))
    await until(lambda: quiet.events.runtime.wake.awaited)
    await quiet.other.publish(Placed(order="a", number=1))
    return started


@pytest.mark.parametrize("what", [ready, later, sooner, lost, gated, stuck, rated, tick, scheduled, awaited])
async def test_whatever_nobody_tells_is_found_by_polling(stage: Stage, what: Callable[[Quiet], Awaitable[Any]]) -> None:
    seen: list[Any] = []
    quiet = await Quiet(stage, seen).open(poll_interval=0.3)
    await what(quiet)
    await until(lambda: seen in ([1], ["ping 1"]))


async def test_what_is_to_be_canceled_is_found_by_polling(stage: Stage) -> None:
    seen: list[Any] = []
    quiet = await Quiet(stage, seen).open(poll_interval=0.3)
    await start(quiet.events, "patient", "a")
    await until(lambda: stage.value("SELECT count(*) FROM events.run_queue WHERE state = 'w'"))
    await stage.rows("UPDATE events.run_queue SET cancel_reason = 'enough'")
    await until(lambda: stage.value("SELECT note = 'enough' FROM events.run_end"))


async def test_a_wait_that_is_over_is_forgotten_by_polling(stage: Stage) -> None:
    quiet = await Quiet(stage, []).open(poll_interval=0.3)
    await start(quiet.events, "patient", "a")
    await until(lambda: stage.value("SELECT count(*) FROM events.run_queue WHERE state = 'w'"))
    await stage.rows("DELETE FROM events.run_queue")
    await until(lambda: stage.value("SELECT count(*) = 0 FROM events.run_wait"))
    await until(lambda: not quiet.events.runtime.wake.awaited)


async def test_more_waits_than_one_question_is_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "WAITS_LOOKED_AT", 2)
    seen: list[Any] = []
    quiet = await Quiet(stage, seen).open(poll_interval=0.3)
    for key in "abcde":
        await start(quiet.events, "patient", key)
    await until(lambda: stage.value("SELECT count(*) = 5 FROM events.run_queue WHERE state = 'w'"))
    for number, key in enumerate("abcde"):
        await quiet.other.publish(Placed(order=key, number=number))
    await until(lambda: sorted(seen) == [0, 1, 2, 3, 4])


async def test_who_has_nothing_to_do_asks_one_question(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while runs wait for events, and for moments that are far away."""
    quiet = await Quiet(stage, []).open(poll_interval=0.1)
    await start(quiet.events, "patient", "a")
    await start(quiet.events, "plain", 1, delay=3600)
    await quiet.events.publish(Pinged(number=1), delay=3600)
    await until(lambda: stage.value("SELECT count(*) = 2 FROM events.run_queue WHERE state IN ('w', 't')"))

    asked: list[str] = []
    fetch = Database.fetch

    async def noted(self: Database, query: str, *arguments: Any) -> list[Any]:
        if query in OF_JOBS:
            asked.append(OF_JOBS[query])
        return await fetch(self, query, *arguments)

    monkeypatch.setattr(Database, "fetch", noted)
    await until(lambda: asked[-8:] == ["find_work"] * 8, "nothing else to be asked any more")
    waited_for: frozenset[int] = quiet.events.runtime.wake.awaited
    assert len(waited_for) == 1
