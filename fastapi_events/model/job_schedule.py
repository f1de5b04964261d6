"""Schedules as declared: when a job is started by itself, and with what."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, get_args

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions, InvalidSchedule
from fastapi_events.model.job import Job
from fastapi_events.model.job_limits import not_among
from fastapi_events.model.tick_rule import SHORTEST_INTERVAL, TickRule, cron_spec, interval_spec

MissedTicks = Literal["once", "skip", "all"]
_NONE_OF_THEM = ("none", "no", "never", "ignore", "drop", None, False)
"""By letters alone, "none" would be nearest to "once"."""
MOST_MADE_UP = 1000
"""Ticks that ``missed="all"`` makes up at most, the newest."""
ON_TIME = 60.0
"""Seconds after which a tick that nobody was there for counts as missed."""
RETIRED_AFTER = 7 * 86_400.0
"""Seconds after which a schedule that no live process has had makes no tick up any more, but begins anew."""
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")
_LONGEST_SPEC = 200
_DAY = re.compile(r"(3[01]|[12][0-9]|0?[1-9])\Z")
_NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_EXAMPLE = "@module.every('0 6 * * *'), or @module.every(timedelta(minutes=5))"


@dataclass(frozen=True, slots=True, eq=False)
class JobSchedule:
    """A schedule as declared by ``Module.every``: which job is started, when, and with what input."""

    name: str
    """Its identity in the database: the job's name, unless ``id=`` was given."""
    job: Job[Any, Any]
    rule: TickRule
    missed: MissedTicks
    input: Any
    where: str
    """File and line of the job's function, for people."""
    was: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"schedule {self.name!r} ({self.where})"


def checked_rule(spec: Any, tz: Any, owner: str) -> TickRule:
    """The rule that ``every`` was told; raises ``InvalidSchedule`` and ``ContradictoryOptions``, naming ``owner``."""
    if isinstance(spec, timedelta):
        return _interval(spec, tz, owner)
    if not isinstance(spec, str):
        _refuse(owner, spec, f"it takes a cron expression or a timedelta. Write {_EXAMPLE}.")
    if len(spec) > _LONGEST_SPEC:
        _refuse(owner, spec, f"it is longer than {_LONGEST_SPEC} characters. Declare several schedules, each with id=.")
    try:
        rule = TickRule(cron_spec(spec), _zone(tz, owner))
    except ValueError as error:
        if spec.strip().startswith("@"):
            _refuse(owner, spec, f"nicknames are not known here. {_nickname(spec)}")
        _refuse(
            owner, spec,
            f"{_problem(spec, error)}. A cron expression has five fields (minute, hour, day of the month, month, day "
            "of the week), or six with the seconds first: '0 6 * * MON-FRI'.",
        )  # fmt: skip
    try:
        rule.first(datetime.now(UTC))
    except ValueError:
        _refuse(owner, spec, "no day of the next fifty years matches, so it would never tick. Mend its days.")
    return rule


def checked_missed(missed: Any, owner: str) -> MissedTicks:
    """What is to become of missed ticks; raises ``ContradictoryOptions``."""
    known: tuple[MissedTicks, ...] = get_args(MissedTicks)
    if missed not in known:
        meant = "skip" if missed in _NONE_OF_THEM else None
        raise ContradictoryOptions(f"{owner}: {not_among(missed, 'missed', known, meant)}")
    return known[known.index(missed)]


def checked_schedule_name(name: object, owner: str) -> str:
    """The identity of a schedule; raises ``InvalidSchedule``."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidSchedule(
            f"{owner}: id={ascii(name)[:80]}: an id is 1 to 200 letters, digits and the signs '_.:-'. Write e.g. "
            "id='reports.nightly'."
        )
    return name


def _interval(spec: timedelta, tz: Any, owner: str) -> TickRule:
    if tz != "UTC":
        raise ContradictoryOptions(
            f"{owner}: every({spec!r}, tz={ascii(tz)[:80]}): an interval has no time zone, the clock's changes do not "
            "touch it. Leave tz= out, or write a cron expression."
        )
    if spec < SHORTEST_INTERVAL:
        _refuse(owner, spec, "the shortest interval is one second. To run more often, start runs of a job yourself.")
    if spec.total_seconds() > LONGEST_DELAY:
        _refuse(owner, spec, "it is longer than ten years. Write a shorter one.")
    return TickRule(interval_spec(spec))


def _nickname(spec: str) -> str:
    plain = _NICKNAMES.get(spec.strip().lower())
    return f"Write {plain!r}." if plain else f"Write a cron expression or a timedelta: {_EXAMPLE}."


def _problem(spec: str, error: ValueError) -> str:
    """What is wrong; cronsim calls a day bad that is a good one, but of none of the months."""
    fields = spec.split()[-4:]
    if str(error) == "Bad day-of-month" and len(fields) == 4 and _DAY.match(fields[1]):
        return f"none of its months (field {fields[2]!r}) has a day {fields[1]}, so it would never tick"
    return str(error)


def _zone(tz: Any, owner: str) -> str:
    if isinstance(tz, str) and tz:
        try:
            zoneinfo.ZoneInfo(tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
        else:
            return tz
    known = zoneinfo.available_timezones()
    if not known:
        mend = "There is no time zone database here: install the package tzdata."
    else:
        near = get_close_matches(str(tz), sorted(known), n=1)
        mend = f"Did you mean {near[0]!r}?" if near else "Write a name of the IANA database, such as 'Europe/Berlin'."
    raise InvalidSchedule(f"{owner}: tz={ascii(tz)[:80]} is no time zone that is known here. {mend}")


def _refuse(owner: str, spec: Any, why: str) -> NoReturn:
    raise InvalidSchedule(f"{owner}: every({ascii(spec)[:80]}): {why}")
