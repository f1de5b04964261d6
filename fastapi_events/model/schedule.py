"""When a scheduled event is due: a delay from the moment its row is written, or a time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions, InvalidPayload
from fastapi_events.model.lane import LaneNumber, LogPlace, place_of

Due = float | datetime
"""Seconds from the insert, by the database's clock; or a time in UTC."""

SCHEDULE = LaneNumber(63)
"""The lane that notifications name for what was scheduled; nothing is stored in it.

The partition tells how soon the first event is due, so that a process need not ask the database for what is far away.
"""
_STEPS, _LAST_STEP = 16, 1023


def due_of(delay: object, at: object, owner: str) -> Due | None:
    """What ``delay`` (seconds or a ``timedelta``) or ``at`` (an aware datetime) come to; None if nothing is to wait.

    Raises ``ContradictoryOptions`` for both, and ``InvalidPayload`` for what is no time from now to ten years ahead. A
    time that is over is none of these: such an event is due at once.
    """
    if delay is None:
        return None if at is None else _checked_time(at, owner)
    if at is not None:
        raise ContradictoryOptions(
            f"{owner}: publish() was given delay= and at=, which both say when. Pass one of them."
        )
    return _checked_delay(delay, owner) or None


def schedule_place(due: Due) -> LogPlace:
    """Where a notification says that an event was scheduled: how soon it is due, rounded down to the twentieth part."""
    seconds = (due - datetime.now(UTC)).total_seconds() if isinstance(due, datetime) else due
    milliseconds = max(seconds, 0.0) * 1000
    return place_of(SCHEDULE, min(int(_STEPS * math.log2(1 + milliseconds)), _LAST_STEP))


def seconds_until(partition: int) -> float:
    """Seconds that ``schedule_place`` has told, as the partition of a place."""
    return (math.exp2(min(partition, _LAST_STEP) / _STEPS) - 1) / 1000


def _checked_delay(delay: object, owner: str) -> float:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidPayload(
            f"{owner}: delay={_shown(delay)} is no duration. Pass seconds as a number, or a timedelta.",
            path="$.delay",
        )
    if not 0 <= seconds <= LONGEST_DELAY:
        raise InvalidPayload(
            f"{owner}: delay={_shown(delay)}: a delay is 0 seconds to ten years. Leave it out for an event of the "
            "past, and say by occurred_at= when it happened.",
            path="$.delay",
        )
    return float(seconds)


def _checked_time(at: object, owner: str) -> datetime:
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise InvalidPayload(
            f"{owner}: at={_shown(at)} has no time zone. Pass an aware datetime, e.g. datetime.now(UTC) + "
            "timedelta(days=1); for seconds from now there is delay=.",
            path="$.at",
        )
    try:
        moment = at.astimezone(UTC)
    except OverflowError:
        raise InvalidPayload(
            f"{owner}: at={_shown(at)} is outside the years 1 to 9999 in UTC. Pass a moment inside them.", path="$.at"
        ) from None
    if (moment - datetime.now(UTC)).total_seconds() > LONGEST_DELAY:
        raise InvalidPayload(
            f"{owner}: at={_shown(at)} is more than ten years away. Pass a time within them.", path="$.at"
        )
    return moment


def _shown(value: object) -> str:
    if isinstance(value, str):
        return ascii(value)[:80]
    try:
        return ascii(value if isinstance(value, float | int) else str(value))[:80].strip("'")
    except ValueError:  # a number of more digits than Python writes
        return "…"
