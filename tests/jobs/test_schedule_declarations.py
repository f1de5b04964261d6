"""Schedules are refused where they are written, and their rules tick as they say where clocks change."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_events import DuplicateSchedule, Events, InvalidSchedule, JobContext, Module
from fastapi_events.errors import ContradictoryOptions, DeclarationError, UnknownOption
from fastapi_events.model.tick_rule import TickRule, cron_spec, interval_spec


class Report(BaseModel):
    kind: str


async def nightly(job: JobContext[None]) -> None:
    """A job without input."""


async def made(job: JobContext[Report]) -> None:
    """A job with one."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("0 6 * *", {}, InvalidSchedule, "Wrong number of fields"),
        ("61 6 * * *", {}, InvalidSchedule, "Bad minute"),
        ("@daily", {}, InvalidSchedule, r"nicknames are not known here\. Write '0 0 \* \* \*'"),
        ("@reboot", {}, InvalidSchedule, "nicknames are not known here. Write a cron expression or a timedelta"),
        ("", {}, InvalidSchedule, "five fields"),
        ("0 6 * * * * *", {}, InvalidSchedule, "Wrong number of fields"),
        ("0 0 30 2 *", {}, InvalidSchedule, r"none of its months \(field '2'\) has a day 30, so it would never tick"),
        ("0 0 */20 * MON#5", {}, InvalidSchedule, "would never tick"),
        ("0 " * 200, {}, InvalidSchedule, "longer than 200"),
        (5, {}, InvalidSchedule, "a cron expression or a timedelta"),
        (timedelta(milliseconds=999), {}, InvalidSchedule, "shortest interval is one second. To run more often, start"),
        (timedelta(seconds=-1), {}, InvalidSchedule, "shortest interval is one second"),
        (timedelta(days=4000), {}, InvalidSchedule, "longer than ten years"),
        (timedelta(hours=1), {"tz": "Europe/Berlin"}, ContradictoryOptions, "an interval has no time zone"),
        ("0 6 * * *", {"tz": "Europe/Belin"}, InvalidSchedule, "Did you mean 'Europe/Berlin'"),
        ("0 6 * * *", {"tz": "../etc/passwd"}, InvalidSchedule, "no time zone"),
        ("0 6 * * *", {"tz": ""}, InvalidSchedule, "no time zone"),
        ("0 6 * * *", {"tz": None}, InvalidSchedule, "no time zone"),
        ("0 6 * * *", {"missed": "al"}, ContradictoryOptions, "Did you mean 'all'"),
        ("0 6 * * *", {"missed": "none"}, ContradictoryOptions, "Did you mean 'skip'"),
        ("0 6 * * *", {"missed": []}, ContradictoryOptions, "not one of 'once', 'skip', 'all'"),
        ("0 6 * * *", {"id": "two words"}, InvalidSchedule, "an id is"),
    ],
)
def test_what_can_never_work_is_refused_with_its_function(
    spec: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Module("reports").every(spec, **options)(nightly)
    assert "nightly" in str(caught.value)
    assert "test_schedule_declarations.py" in str(caught.value)


def test_a_misspelt_option_and_missing_brackets_are_named() -> None:
    reports: Any = Module("reports")
    with pytest.raises(UnknownOption, match="Did you mean 'missed'"):
        reports.every("0 6 * * *", mised="all")
    with pytest.raises(InvalidSchedule, match="with brackets"):
        reports.every(nightly)
    assert reports.declared_jobs == []


def test_no_job_is_left_behind_by_a_schedule_that_was_refused() -> None:
    reports = Module("reports")
    with pytest.raises(InvalidSchedule):
        reports.every("0 6")(nightly)
    assert reports.declared_jobs == []


def test_its_id_is_the_jobs_name_and_there_once() -> None:
    reports = Module("reports")
    job = reports.every("0 6 * * *")(reports.job("reports.daily")(nightly))
    assert Events([reports]).registry.schedules["reports.daily"].job is job
    reports.every("0 7 * * *")(job)
    with pytest.raises(DuplicateSchedule, match=r"id 'reports.daily'.*id='reports.nightly'"):
        Events([reports])


def test_the_job_must_be_known_and_take_the_input() -> None:
    for given, message in ((None, "input="), (Report, "input="), ("stock", "input=")):
        reports: Any = Module("reports")
        reports.every("0 6 * * *", input=given)(made)
        with pytest.raises(InvalidSchedule, match=message):
            Events([reports])
    reports, elsewhere = Module("reports"), Module("elsewhere")
    reports.every("0 6 * * *")(elsewhere.job()(nightly))
    with pytest.raises(InvalidSchedule, match="belongs to no module of this application"):
        Events([reports])
    assert Events([reports, elsewhere]).registry.schedules


def test_nothing_is_declared_after_the_start() -> None:
    reports = Module("reports")
    job = reports.job()(nightly)
    with reports.read_by_a_running_instance(), pytest.raises(DeclarationError, match="after the Events object"):
        reports.every("0 6 * * *")(job)


def following(rule: TickRule, start: str, number: int) -> list[str]:
    found = [rule.first(at(start))]
    while len(found) < number:
        found.append(rule.due(found[-1], found[-1], 1).following)
    return [tick.strftime("%m-%d %H:%M:%S") for tick in found]


@pytest.mark.parametrize(
    ("tz", "spec", "start", "wanted"),
    [
        # Spring: 2:00 to 3:00 is left out. What falls into it comes at its end, once.
        ("Europe/Berlin", "30 2 * * *", "2026-03-28 00:00", ["03-28 01:30:00", "03-29 01:00:00", "03-30 00:30:00"]),
        ("Europe/Berlin", "10,50 2 * * *", "2026-03-29 00:00", ["03-29 01:00:00", "03-30 00:10:00"]),
        ("Europe/Berlin", "15 30 2 * * *", "2026-03-29 00:00", ["03-29 01:00:15", "03-30 00:30:15"]),
        ("America/New_York", "30 2 * * *", "2026-03-07 12:00", ["03-08 07:00:00", "03-09 06:30:00"]),
        # Autumn: 2:00 to 3:00 is there twice, and only the first counts.
        ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", ["10-25 00:30:00", "10-26 01:30:00"]),
        ("America/New_York", "30 1 * * *", "2026-10-31 12:00", ["11-01 05:30:00", "11-02 06:30:00"]),
        # Whoever begins in the second of the two hours has had that day's tick.
        ("Europe/Berlin", "30 2 * * *", "2026-10-25 01:15", ["10-26 01:30:00"]),
        # With a star the wall decides: each hour of the day, the left-out one not, the doubled one twice.
        ("Europe/Berlin", "0 * * * *", "2026-03-28 23:30", ["03-29 00:00:00", "03-29 01:00:00", "03-29 02:00:00"]),
        ("Europe/Berlin", "0 * * * *", "2026-10-24 23:30", ["10-25 00:00:00", "10-25 01:00:00", "10-25 02:00:00"]),
        ("Europe/Berlin", "*/30 2 * * *", "2026-10-25 00:20", ["10-25 00:30:00", "10-25 01:00:00", "10-25 01:30:00"]),
        ("Europe/Berlin", "*/30 2 * * *", "2026-03-28 01:20", ["03-28 01:30:00", "03-30 00:00:00"]),
        ("UTC", "0 0 29 2 *", "2026-03-01 00:00", ["02-29 00:00:00"]),
        ("UTC", "*/20 * * * * *", "2026-03-01 00:00", ["03-01 00:00:20", "03-01 00:00:40", "03-01 00:01:00"]),
    ],
)
def test_where_clocks_change(tz: str, spec: str, start: str, wanted: list[str]) -> None:
    assert following(TickRule(cron_spec(spec), tz), start, len(wanted)) == wanted


def test_only_the_newest_are_counted_and_they_are_the_same_however_they_are_found() -> None:
    drawn = random.Random(7)
    specs = [
        "30 2 * * *",
        "*/20 2 * * *",
        "0,30 1-3 * * *",
        "*/7 * * * *",
        "5 30 2 * * *",
        "59 1,2 * * *",
        "0 0 * * SUN",
    ]
    zones = ["Europe/Berlin", "America/New_York", "America/Havana", "UTC"]
    changes = ["2026-03-29 00:00", "2026-03-08 00:00", "2026-10-25 00:00", "2026-11-01 00:00"]
    for _ in range(120):
        rule = TickRule(drawn.choice(specs), drawn.choice(zones))
        change = at(drawn.choice(changes))
        now = change + timedelta(seconds=drawn.randint(-200_000, 200_000), microseconds=drawn.choice([0, 5]))
        first = rule.first(change - timedelta(days=16))
        every = rule.due(first, now, 1_000_000)
        assert all(before < after for before, after in pairwise(every.ticks))
        assert every.ticks[-1] <= now < every.following
        for most in (1, 3):
            newest = rule.due(first, now, most)
            assert (newest.ticks, newest.following) == (every.ticks[-most:], every.following)
            assert newest.more == (len(every.ticks) > most)


def test_a_long_absence_is_no_long_count() -> None:
    rule, start = TickRule("* * * * * *"), at("2026-01-01 00:00")
    due = rule.due(start, start + timedelta(days=365), 1)
    assert due.ticks == (start + timedelta(days=365),)
    assert due.more
    every = TickRule(interval_spec(timedelta(seconds=1.5)))
    due = every.due(start, start + timedelta(seconds=10), 2)
    assert [(tick - start).total_seconds() for tick in (*due.ticks, due.following)] == [7.5, 9.0, 10.5]
    assert due.more


@pytest.mark.parametrize("seconds", [1, 1.5, 300, 86_400, 0.000_001 + 1, 315_000_000.123457])
def test_an_interval_is_kept_to_the_microsecond(seconds: float) -> None:
    interval, start = timedelta(seconds=seconds), at("2026-01-01 00:00")
    rule = TickRule(interval_spec(interval))
    assert rule.first(start) == start + interval
    assert rule.due(start, start, 1).following == start + interval
