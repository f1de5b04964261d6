"""Circuit breakers: when a handler that only fails is left alone for a while, and how it is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions
from fastapi_events.model.unknown_options import names_unknown

Seconds = float | timedelta


@dataclass(frozen=True, slots=True, init=False)
class Breaker:
    """Opens after ``threshold`` failures within ``window`` seconds and without a success between them.

    While it is open, events wait for the handler and spend no attempts. Every ``recovery`` seconds one of them is
    tried, the probe; if it succeeds the breaker closes, and what waited is handled in order. The state is in the
    database and holds for every process of the group. A time-out is a failure. None are what the handler says
    about a single event (``Discard``, ``DeadLetter``, ``RetryLater``, an exception of ``give_up_on``), a payload that
    cannot be read, and a failure of the infrastructure. A probe is never the last attempt of an event of less than a
    day.

    The pattern is Michael Nygard's, "Release It!" (2007). Raises ``UnknownOption`` and ``ContradictoryOptions``.
    """

    threshold: int
    window: float
    recovery: float

    @names_unknown
    def __init__(self, threshold: int = 5, *, window: Seconds = 60.0, recovery: Seconds = 30.0) -> None:
        if type(threshold) is not int or not 1 <= threshold <= 1000:
            raise ContradictoryOptions(
                f"Breaker: threshold={ascii(threshold)[:80]} is not a whole number from 1 to 1000. Use e.g. 5, or "
                "breaker=False for a handler without a breaker."
            )
        object.__setattr__(self, "threshold", threshold)
        object.__setattr__(self, "window", _seconds(window, "window"))
        object.__setattr__(self, "recovery", _seconds(recovery, "recovery"))


def _seconds(given: object, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float | timedelta):
        raise ContradictoryOptions(f"Breaker: {what}={ascii(given)[:80]} is not a number of seconds.")
    seconds = given.total_seconds() if isinstance(given, timedelta) else float(given)
    if not 0 < seconds <= LONGEST_DELAY:
        raise ContradictoryOptions(f"Breaker: {what}={seconds:g} is not between 0 and ten years, in seconds.")
    return seconds
