"""A schedule starts its job once for each tick, whoever is there, and says what becomes of those that were missed.

Ticks are moved by SQL on ``next_at``: nothing here waits for a time of day.
"""

import asyncio
import logging
import re
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import BaseModel

from fastapi_events import Events, JobContext, Module
from fastapi_events.engine.jobs.ticking import Ticking
from fastapi_events.errors import OperationRefused
from fastapi_events.store.work import WorkStore
from tests.delivery.stage import SLOW, Stage, until, within

HOURLY = "0 * * * *"
DUE = """UPDATE events.schedule SET next_at = date_trunc('hour', clock_timestamp()) - make_interval(hours => $1)
         RETURNING next_at"""
HOUR = timedelta(hours=1)


class Report(BaseModel):
    kind: str


def reporting(spec: str | timedelta = HOURLY, seen: list[Any] | None = None, **options: Any) -> Module:
    """A module with one schedule; what its runs are for is noted in ``seen``."""
    reports = Module("reports")

    @reports.every(spec, **options)
    async def nightly(job: JobContext[None]) -> None:
        if seen is not None:
            seen.append(job.run.scheduled_for)

    return reports


async def schedule(stage: Stage) -> Any:
    [row] = await stage.rows("SELECT *, clock_timestamp() AS now FROM events.schedule")
    return row


async def make_due(stage: Stage, hours: int = 0) -> datetime:
    """The next tick of an hourly schedule is that of this hour, or of so many hours before."""
    tick: datetime = await stage.value(DUE, hours)
    return tick


async def ticks(stage: Stage) -> list[datetime]:
    """What was started, in the order of starting."""
    return [row["scheduled_for"] for row in await stage.rows("SELECT scheduled_for FROM events.run ORDER BY number")]


def ticking(events: Events) -> Ticking:
    side: Any = events.runtime.jobs
    loop: Ticking = side.work._ticking
    return loop


async def by_hand(events: Events) -> Any:
    """Its loop, which from now on looks only where the test has it look."""
    loop = ticking(events)
    await loop.stop()
    return loop


def ask(events: Events) -> None:
    """Have it ask what is due, as it does by itself each poll interval."""
    events.runtime.wake.runs.due.set()


async def test_a_tick_starts_one_run_that_knows_it(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.running(reporting(seen=seen), **SLOW)
    before = await schedule(stage)
    assert before["now"] < before["next_at"] <= before["now"] + HOUR
    assert before["next_at"].minute == before["next_at"].second == before["next_at"].microsecond == 0
    tick = await make_due(stage)
    ask(events)
    await until(lambda: seen)
    assert seen == [tick]
    [run] = await stage.rows("SELECT * FROM events.run")
    assert (run["source"], run["source_ref"], run["scheduled_for"]) == ("schedule", "reports.nightly", tick)
    after = await schedule(stage)
    assert (after["next_at"], after["last_tick_at"], after["last_run_id"]) == (tick + HOUR, tick, run["id"])


async def test_a_run_that_nobody_scheduled_has_no_tick(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.idle(reporting(seen=seen))
    await events.jobs.start(events.registry.jobs["reports.nightly"], None)
    await events.drain_once()
    assert seen == [None]


async def test_an_interval_ticks_from_when_it_was_first_known_and_over_restarts(stage: Stage) -> None:
    events = await stage.idle(reporting(timedelta(minutes=5)))
    first = await schedule(stage)
    assert timedelta(minutes=4, seconds=50) < first["next_at"] - first["now"] < timedelta(minutes=5)
    await events.stop()
    events = await stage.idle(reporting(timedelta(minutes=5)))
    assert (await schedule(stage))["next_at"] == first["next_at"]
    await stage.rows("UPDATE events.schedule SET next_at = next_at - interval '5 minutes'")
    await events.drain_once()
    assert (await schedule(stage))["next_at"] == first["next_at"]
    assert await ticks(stage) == [first["next_at"] - timedelta(minutes=5)]


async def test_the_timer_of_a_process_brings_ticks_without_any_poll(stage: Stage) -> None:
    seen: list[Any] = []
    await stage.running(reporting(timedelta(seconds=1), seen, missed="all"), **SLOW)
    await until(lambda: len(seen) >= 3)
    seen = await ticks(stage)
    assert {after - before for before, after in pairwise(seen)} == {timedelta(seconds=1)}


async def test_of_several_processes_one_has_each_tick(stage: Stage) -> None:
    seen: list[Any] = []
    instances = [await stage.running(reporting(seen=seen)) for _ in range(3)]
    # The tick after each of them is far away: only one is due at a time.
    await stage.rows("UPDATE events.schedule SET spec = '@every 864000s'")
    wanted = []
    for hours in range(20, 0, -1):
        wanted.append(await make_due(stage, hours))
        await asyncio.gather(*(ticking(one).look() for one in instances))
        await until(lambda: len(seen) == len(wanted))
    assert seen == wanted
    assert await stage.value("SELECT count(*) FROM events.run") == len(wanted)


async def test_a_tick_has_one_run_even_if_its_schedule_is_set_back(stage: Stage, caplog: Any) -> None:
    seen: list[Any] = []
    events = await stage.running(reporting(seen=seen), **SLOW)
    tick = await make_due(stage)
    ask(events)
    await until(lambda: seen)
    loop = await by_hand(events)
    await make_due(stage)
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        assert await loop.look() == 0
    assert await ticks(stage) == [tick]
    assert (await schedule(stage))["next_at"] == tick + HOUR
    assert "1 ticks had their runs already" in caplog.text


async def test_nothing_comes_before_its_time_by_the_clock_of_the_database(stage: Stage) -> None:
    events = await stage.running(reporting(), **SLOW)
    assert await ticking(events).look() == 0
    assert await ticks(stage) == []
    await stage.rows("UPDATE events.schedule SET next_at = clock_timestamp() + interval '1 second'")
    for _ in range(3):
        ticking(events).expect(-1.0)  # a timer that runs ahead
        await ticking(events).look()
        assert not [tick for tick in await ticks(stage) if tick > await stage.value("SELECT clock_timestamp()")]


async def test_who_dies_between_leaves_the_tick_to_another(stage: Stage) -> None:
    seen: list[Any] = []
    first = await by_hand(await stage.running(reporting(seen=seen), **SLOW))
    other = await asyncpg.connect(stage.url)
    async with other.transaction():
        await other.execute("LOCK TABLE events.run_queue IN ACCESS EXCLUSIVE MODE")
        tick = await make_due(stage)
        # It has moved the schedule on, and waits to queue the run: then its connection is gone, and it with it.
        dying = asyncio.create_task(first.look())
        stuck = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%Starts runs%' AND wait_event_type = 'Lock'"
        pid = await until(lambda: stage.value(stuck))
        await stage.rows("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await within(dying)
    await other.close()
    assert (await schedule(stage))["next_at"] == tick
    second = await stage.running(reporting(seen=seen), **SLOW)
    ask(second)
    await until(lambda: seen)
    assert seen == [tick]


@pytest.mark.parametrize(
    ("missed", "wanted", "told"),
    [
        ("once", [0], "of its ticks from .* only the last is run"),
        ("skip", [], "were missed and are skipped"),
        ("all", [3, 2, 1, 0], "its 4 ticks from .* are made up"),
    ],
)
async def test_ticks_that_nobody_was_there_for(
    stage: Stage, caplog: Any, missed: str, wanted: list[int], told: str
) -> None:
    seen: list[Any] = []
    events = await stage.idle(reporting(timedelta(hours=1), seen, missed=missed))
    await events.stop()
    newest = await stage.value(
        "UPDATE events.schedule SET next_at = clock_timestamp() - interval '3 hours 2 minutes' "
        "RETURNING next_at + interval '3 hours'"
    )
    events = await stage.idle(reporting(timedelta(hours=1), seen, missed=missed))
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        await events.drain_once()
    assert await ticks(stage) == [newest - ago * HOUR for ago in wanted]
    assert sorted(seen) == await ticks(stage)
    assert (await schedule(stage))["next_at"] == newest + HOUR
    assert re.search(told, caplog.text)


async def test_a_tick_that_comes_a_little_late_is_not_missed(stage: Stage) -> None:
    events = await stage.idle(reporting(timedelta(hours=1), missed="skip"))
    tick = await stage.value(
        "UPDATE events.schedule SET next_at = clock_timestamp() - interval '50 seconds' RETURNING next_at"
    )
    await events.drain_once()
    assert await ticks(stage) == [tick]


async def test_no_more_than_a_thousand_are_made_up_and_it_is_said(stage: Stage, caplog: Any) -> None:
    events = await stage.idle(reporting("* * * * *", missed="all"))
    await stage.rows("UPDATE events.schedule SET next_at = date_trunc('minute', clock_timestamp()) - interval '2 days'")
    with caplog.at_level(logging.WARNING, "fastapi_events"):
        await events.drain_once()
    made = await ticks(stage)
    assert len(made) in (1000, 1001)  # a minute may have begun meanwhile
    assert {after - before for before, after in pairwise(made)} == {timedelta(minutes=1)}
    assert "the newest 1000 are made up" in caplog.text


@pytest.mark.parametrize(
    ("tz", "spec", "start", "wanted"),
    [
        ("Europe/Berlin", "30 2 * * *", "2026-03-27 12:00", ["28 01:30", "29 01:00", "30 00:30"]),
        ("Europe/Berlin", "30 2 * * *", "2026-10-23 12:00", ["24 00:30", "25 00:30", "26 01:30"]),
        ("America/New_York", "30 2 * * *", "2026-03-06 12:00", ["07 07:30", "08 07:00", "09 06:30"]),
        ("America/New_York", "30 1 * * *", "2026-10-30 12:00", ["31 05:30", "01 05:30", "02 06:30"]),
    ],
)
async def test_made_up_ticks_keep_the_clock_of_their_zone(
    stage: Stage, tz: str, spec: str, start: str, wanted: list[str]
) -> None:
    events = await stage.idle(reporting(spec, tz=tz, missed="all"))
    rule = events.registry.schedules["reports.nightly"].rule
    first = rule.first(datetime.fromisoformat(f"{start}+00:00"))
    await stage.rows("UPDATE events.schedule SET next_at = $1", first)
    await events.drain_once()
    made = [tick.strftime("%d %H:%M") for tick in await ticks(stage)]
    assert made[:3] == wanted[: len(made)]  # the last of them may be yet to come


async def test_a_paused_schedule_ticks_no_more_and_makes_nothing_up(stage: Stage) -> None:
    events = await stage.running(reporting(missed="all"), **SLOW)
    operations = events.operations
    assert await operations.pause_schedule("reports.nightly", actor="ann", reason="stocktaking")
    assert not await operations.pause_schedule("reports.nightly", actor="ann")
    await make_due(stage, 3)
    assert await ticking(events).look() == 0
    restarted = await stage.running(reporting(missed="all"), **SLOW)
    assert await ticking(restarted).look() == 0
    [view] = await events.observe.schedules()
    assert (view.status, view.job, view.spec, view.missed) == ("paused", "reports.nightly", HOURLY, "all")
    assert await operations.resume_schedule("reports.nightly", actor="ann")
    assert not await operations.resume_schedule("reports.nightly", actor="ann")
    now = await schedule(stage)
    assert now["now"] < now["next_at"] <= now["now"] + HOUR
    assert await ticks(stage) == []
    done = [(one.action, one.actor, one.target, one.details["reason"]) for one in await operations.actions()]
    assert done[-1] == ("pause_schedule", "ann", "reports.nightly", "stocktaking")
    assert [one[0] for one in done].count("resume_schedule") == 2


async def test_resuming_wakes_a_process_that_sleeps(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.running(reporting(timedelta(seconds=1), seen), **SLOW)
    await events.operations.pause_schedule("reports.nightly", actor="ann")
    await stage.rows("UPDATE events.schedule SET next_at = clock_timestamp()")
    await ticking(events).look()
    before = len(seen)
    await events.operations.resume_schedule("reports.nightly", actor="ann")
    await until(lambda: len(seen) > before)


async def test_one_is_run_now_and_no_tick_is_touched(stage: Stage) -> None:
    seen: list[Any] = []
    reports = Module("reports")

    @reports.every(HOURLY, input=Report(kind="stock"))
    @reports.job(priority=7, scope=lambda report: ("report", report.kind))
    async def nightly(job: JobContext[Report]) -> str:
        seen.append((job.input.kind, job.run.scheduled_for, job.run.scope))
        return job.input.kind

    events = await stage.running(reports, **SLOW)
    before = (await schedule(stage))["next_at"]
    await events.operations.pause_schedule("reports.nightly", actor="ann")
    run = await events.operations.run_schedule_now("reports.nightly", actor="bob", reason="asked for")
    await until(lambda: seen)
    assert seen == [("stock", None, ("report", "stock"))]
    [row] = await stage.rows("SELECT * FROM events.run")
    assert (row["id"], row["source"], row["source_ref"], row["actor"], row["priority"]) == (
        run, "manual", "reports.nightly", "bob", 7,
    )  # fmt: skip
    assert (await schedule(stage))["next_at"] == before
    [newest, *_] = await events.operations.actions()
    assert (newest.action, newest.actor, newest.details["run"]) == ("run_schedule", "bob", str(run))


async def test_operators_are_told_of_a_slip_of_the_pen(stage: Stage) -> None:
    events = await stage.idle(reporting())
    for act in ("pause_schedule", "resume_schedule", "run_schedule_now"):
        with pytest.raises(OperationRefused, match=r"no schedule 'reports\.nihgtly'. Did you mean 'reports.nightly'"):
            await getattr(events.operations, act)("reports.nihgtly", actor="ann")
        with pytest.raises(OperationRefused, match="actor is empty"):
            await getattr(events.operations, act)("reports.nightly", actor=" ")
        with pytest.raises(OperationRefused, match="those of some tenants"):
            await getattr(events.operations.within("acme"), act)("reports.nightly", actor="ann")
    assert await events.operations.actions() == []
    assert await events.observe.within("acme").schedules() == []


async def test_a_rule_that_is_another_one_begins_now(stage: Stage) -> None:
    events = await stage.idle(reporting())
    await events.stop()
    await make_due(stage, 3)
    events = await stage.idle(reporting("30 6 * * *", tz="Europe/Berlin"))
    await events.drain_once()
    assert await ticks(stage) == []
    row = await schedule(stage)
    assert (row["spec"], row["tz"]) == ("30 6 * * *", "Europe/Berlin")
    assert row["next_at"] > row["now"]


async def test_a_renamed_job_keeps_its_schedule(stage: Stage) -> None:
    events = await stage.idle(reporting())
    await events.operations.pause_schedule("reports.nightly", actor="ann")
    before = await schedule(stage)
    await events.stop()
    reports = Module("reports")

    @reports.every(HOURLY)
    @reports.job(was=["reports.nightly"])
    async def hourly(job: JobContext[None]) -> None:
        return None

    await stage.idle(reports)
    after = await schedule(stage)
    assert (after["id"], after["name"], after["paused_at"]) == (before["id"], "reports.hourly", before["paused_at"])
    assert after["former_names"] == ["reports.nightly"]


async def test_of_two_releases_the_one_that_started_last_wins_while_it_lives(stage: Stage) -> None:
    old = await stage.running(reporting("0 6 * * *"), **SLOW)
    new = await stage.running(reporting("0 7 * * *"), **SLOW)
    assert (await schedule(stage))["spec"] == "0 7 * * *"
    await stage.rows("UPDATE events.schedule SET next_at = date_trunc('day', clock_timestamp()) - interval '17 hours'")
    await ticking(old).look()  # it ticks by the rule that holds, not by its own
    row = await schedule(stage)
    assert row["spec"] == "0 7 * * *"
    assert row["next_at"].hour == 7
    assert row["next_at"] > row["now"]
    await new.stop()
    ask(old)
    await until(lambda: stage.value("SELECT true FROM events.schedule WHERE spec = '0 6 * * *'"))
    row = await schedule(stage)
    assert row["next_at"].hour == 6
    assert row["next_at"] > row["now"]


async def test_who_takes_a_schedule_over_by_the_same_rule_changes_no_tick(stage: Stage) -> None:
    events = await stage.running(reporting(), **SLOW)
    orphan = "UPDATE events.schedule SET declared_by = $1, next_at = date_trunc('hour', clock_timestamp())"
    tick = await stage.value(f"{orphan} RETURNING next_at", uuid4())
    ask(events)
    await until(lambda: stage.value("SELECT true FROM events.run"))
    assert await ticks(stage) == [tick]
    assert (await schedule(stage))["declared_by"] == events.runtime.worker


async def test_only_who_has_a_schedule_ticks_it(stage: Stage) -> None:
    events = await stage.idle(reporting())
    await events.stop()
    await stage.rows("UPDATE events.schedule SET next_at = clock_timestamp() - interval '2 hours'")
    other = Module("other")

    @other.every(HOURLY)
    async def else_(job: JobContext[None]) -> None:
        return None

    events = await stage.running(other)
    await ticking(events).look()
    assert await ticks(stage) == []
    views = {view.name: view.status for view in await events.observe.schedules()}
    assert views == {"other.else_": "ticking", "reports.nightly": "overdue"}


async def test_one_that_nobody_had_for_a_week_begins_anew(stage: Stage) -> None:
    events = await stage.idle(reporting(missed="all"))
    await events.stop()
    await make_due(stage, 200)
    await stage.rows("UPDATE events.schedule SET last_seen_at = clock_timestamp() - interval '8 days'")
    other = await stage.idle(Module("other"))
    assert [view.status for view in await other.observe.schedules()] == ["retired"]
    events = await stage.idle(reporting(missed="all"))
    await events.drain_once()
    assert await ticks(stage) == []
    assert [view.status for view in await events.observe.schedules()] == ["ticking"]


async def test_a_live_process_says_that_it_has_its_schedules(stage: Stage) -> None:
    events = await stage.running(reporting(), **SLOW)
    await stage.rows("UPDATE events.schedule SET last_seen_at = clock_timestamp() - interval '2 hours'")
    loop: Any = ticking(events)
    loop._next_touch = 0.0
    await loop.look()
    row = await schedule(stage)
    assert row["now"] - row["last_seen_at"] < timedelta(minutes=1)


async def test_a_rule_that_cannot_be_read_here_holds_up_nothing_else(stage: Stage, caplog: Any) -> None:
    reports = reporting()

    @reports.every(HOURLY, id="reports.other")
    @reports.job()
    async def other(job: JobContext[None]) -> None:
        return None

    loop = await by_hand(await stage.running(reports, **SLOW))
    await make_due(stage)
    await stage.rows("UPDATE events.schedule SET tz = 'Mars/Olympus' WHERE name = 'reports.nightly'")
    with caplog.at_level(logging.ERROR, "fastapi_events"):
        assert await loop.look() == 1
        await loop.look()
    assert caplog.text.count("cannot be read here") == 1
    assert await stage.value("SELECT source_ref FROM events.run") == "reports.other"


async def test_a_job_may_have_several_schedules_each_with_its_input(stage: Stage) -> None:
    reports, seen = Module("reports"), []

    @reports.every(HOURLY, input=Report(kind="stock"), id="reports.stock")
    @reports.every("0 0 1 * *", input=Report(kind="sales"), id="reports.sales")
    @reports.job()
    async def make(job: JobContext[Report]) -> None:
        seen.append(job.input.kind)

    events = await stage.idle(reports)
    await stage.rows("UPDATE events.schedule SET next_at = clock_timestamp()")
    await events.drain_once()
    assert sorted(seen) == ["sales", "stock"]


async def test_a_process_that_works_on_no_jobs_ticks_nothing(stage: Stage) -> None:
    events = await stage.idle(reporting())
    await make_due(stage)
    ask(events)
    assert await ticks(stage) == []
    await events.drain_once()
    assert len(await ticks(stage)) == 1


async def test_what_is_told_while_it_looks_is_not_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process moves a schedule just after it was read here, and the question for due runs finds that out."""
    seen: list[Any] = []
    events = await stage.running(reporting(seen=seen), **SLOW)
    loop: Any = ticking(events)
    read = loop._store.read

    async def read_before(ids: Any) -> Any:
        rows = await read(ids)
        monkeypatch.undo()
        await make_due(stage)
        loop.expect(0.0)
        return rows

    monkeypatch.setattr(loop._store, "read", read_before)
    loop.expect(-1.0)
    await until(lambda: seen)


async def test_who_waits_for_a_tick_asks_nothing_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    events = await stage.running(reporting("0 0 29 2 *"), poll_interval=0.02)
    store: Any = ticking(events)._store
    for name in ("read", "tick", "touch", "register"):
        monkeypatch.setattr(store, name, lambda *_, name=name, **__: asked.append(name))
    rounds: list[Any] = []
    find = WorkStore.find

    async def counted(self: WorkStore, *given: Any) -> Any:
        rounds.append(given)
        return await find(self, *given)

    monkeypatch.setattr(WorkStore, "find", counted)
    await until(lambda: len(rounds) > 5)
    assert asked == []
    assert all(schedules for _, _, schedules in rounds)


@pytest.mark.parametrize(
    "change", ["spec = '30 * * * *'", "tz = 'Europe/Berlin'", "paused_at = now()", "next_at = next_at - interval '1 s'"]
)
async def test_what_was_changed_since_it_was_read_is_not_ticked(stage: Stage, change: str) -> None:
    events = await stage.running(reporting(), **SLOW)
    loop = await by_hand(events)
    await make_due(stage)
    rows = await loop._store.read(loop.ids)
    await stage.rows(f"UPDATE events.schedule SET {change}")
    before = await schedule(stage)
    assert await loop._tick(rows, 0.0) == 0
    assert await ticks(stage) == []
    assert (await schedule(stage))["next_at"] == before["next_at"]
