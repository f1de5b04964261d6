"""When a schedule ticks: every so many seconds, or by a cron expression in a time zone.

The next tick follows from the one before, never from a process's clock. Cron is read by ``cronsim``, which keeps the
rules of Debian's cron where clocks change. A rule that names hours and minutes ticks as often on that day as on others:
what falls into the time that is left out comes at its end, what falls into an hour that is there twice comes the first
time. A rule whose hours or minutes begin with ``*`` goes by what the clock on the wall shows: not in the time that is
left out, twice in the hour that is there twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

SHORTEST_INTERVAL = timedelta(seconds=1)
_INTERVAL = "@every "
_FIELDS_WITH_SECONDS = 6
_TO_SPARE = 10
"""Ticks walked back further than needed: where clocks change, the way back may have some that the way forth has not."""
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DueTicks:
    """Ticks whose time has come, the newest last, and the one that comes next; ``more``: older ones were left out."""

    ticks: tuple[datetime, ...]
    following: datetime
    more: bool = False


@dataclass(frozen=True, slots=True)
class TickRule:
    """A rule, as the database keeps it: ``spec`` is a cron expression, or what ``interval_spec`` made."""

    spec: str
    tz: str = "UTC"

    def first(self, now: datetime) -> datetime:
        """The first tick of a rule that begins now; raises ``ValueError`` if there is none, or the rule is none."""
        interval = self._interval
        return now + interval if interval is not None else self._next(now)

    def due(self, tick: datetime, now: datetime, most: int) -> DueTicks:
        """What is due at ``now`` if ``tick``, which is not after it, came next: the newest ``most``, in order."""
        interval = self._interval
        if interval is not None:
            last = (now - tick) // interval
            first = max(0, last - most + 1)
            ticks = tuple(tick + number * interval for number in range(first, last + 1))
            return DueTicks(ticks, tick + (last + 1) * interval, more=first > 0)
        found, following = self._until(tick, now, most)
        if following is not None:
            return DueTicks(tuple(found), following)
        return self._newest(tick, now, most)

    def _next(self, moment: datetime) -> datetime:
        found = next(self._after(moment), None)
        if found is None:
            raise ValueError("it never comes")
        return found

    def _until(self, tick: datetime, now: datetime, most: int) -> tuple[list[datetime], datetime | None]:
        """From a tick on those that are due, and what follows them; None if there are more than ``most``."""
        found = [tick]
        for following in self._after(tick):
            if following > now:
                return found, following
            if len(found) == most:
                return found, None
            found.append(following)
        raise ValueError("it never comes again")

    def _newest(self, tick: datetime, now: datetime, most: int) -> DueTicks:
        """Of more ticks than anybody wants to count: walk back from now, and forward again, which alone is exact."""
        back = next(islice(self._before(now), most + _TO_SPARE, None), tick)
        found, following = [max(tick, min(back, now))], None
        for following in self._after(found[0]):
            if following > now:
                return DueTicks(tuple(found[-most:]), following, more=True)
            found.append(following)
        raise ValueError("it never comes again")

    def _after(self, moment: datetime) -> Iterator[datetime]:
        """Ticks after a moment, in UTC. Where an hour is there twice, cronsim gives the first one's to the second."""
        expression, offset = self._cron
        last = moment
        for tick in CronSim(expression, (moment - offset).astimezone(self._zone)):
            found = tick.astimezone(UTC) + offset
            if found > last:
                last = found
                yield found

    def _before(self, moment: datetime) -> Iterator[datetime]:
        expression, offset = self._cron
        beyond = (moment - offset).astimezone(self._zone).replace(microsecond=0)
        for tick in CronSim(expression, (beyond.astimezone(UTC) + _SECOND).astimezone(self._zone), reverse=True):
            yield tick.astimezone(UTC) + offset

    @property
    def _interval(self) -> timedelta | None:
        return _interval_of(self.spec)

    @property
    def _cron(self) -> tuple[str, timedelta]:
        """What cronsim is to read, and what is added: a second that is named changes nothing of the rules."""
        seconds, *minutes = self.spec.split()
        if len(minutes) == _FIELDS_WITH_SECONDS - 1 and seconds.isdecimal():
            return " ".join(minutes), timedelta(seconds=int(seconds))
        return self.spec, timedelta(0)

    @property
    def _zone(self) -> tzinfo:
        return UTC if self.tz == "UTC" else ZoneInfo(self.tz)


def interval_spec(interval: timedelta) -> str:
    """How the database keeps an interval: ``@every 300s``."""
    seconds = repr(interval // _MICROSECOND / 1_000_000).removesuffix(".0")
    return f"{_INTERVAL}{seconds}s"


def cron_spec(text: str) -> str:
    """A cron expression, with one blank between its fields; raises ``ValueError``, which says what is wrong with it."""
    try:
        CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(str(error)) from None
    except (AssertionError, TypeError) as error:
        raise ValueError("it cannot be read") from error
    return " ".join(text.split())


def _interval_of(spec: str) -> timedelta | None:
    if not spec.startswith(_INTERVAL):
        return None
    return timedelta(seconds=float(spec.removeprefix(_INTERVAL).removesuffix("s")))
