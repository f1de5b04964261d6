"""What handlers and jobs raise to decide what becomes of their work."""

from __future__ import annotations

from datetime import timedelta

from fastapi_events.errors.root import EventsError

LONGEST_DELAY = 10 * 365 * 86_400.0
"""Seconds: what is postponed further than ten years is a mistake, and soon more than a timestamp can hold."""

SHORTEST_POSTPONEMENT = 0.1
"""Seconds that ``RetryLater`` waits at least."""


class Steering(EventsError):
    """Raised by a handler to decide the fate of its delivery; never a defect."""


class RetryLater(Steering):
    """Try again after ``delay`` seconds without spending an attempt.

    ``max_age`` (seconds, default 24 hours, counted from the event's publication) bounds the postponing: past
    it the delivery is dead with reason ``max_attempts``. A delay below a tenth of a second is a tenth, since the
    database is asked again each time. Raises ``ValueError`` for a delay that is no number of seconds from 0 to ten
    years.
    """

    def __init__(self, delay: float | timedelta, *, max_age: float | timedelta = 86_400.0) -> None:
        self.delay = _seconds(delay)
        self.max_age = _seconds(max_age)
        if not 0 <= self.delay <= LONGEST_DELAY:
            raise ValueError(f"RetryLater(delay={self.delay:g}): a delay is 0 seconds to ten years.")
        self.delay = max(self.delay, SHORTEST_POSTPONEMENT)
        super().__init__(f"retry after {self.delay:g} s")


class Discard(Steering):
    """This handler is done with the event without having handled it; ``reason`` is kept with the delivery."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class DeadLetter(Steering):
    """The delivery is dead at once, whatever attempts are left; ``reason`` is kept with it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
