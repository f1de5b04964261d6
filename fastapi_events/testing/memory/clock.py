"""The clock of events on memory: the wall clock, moved ahead as a test wants."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi_events.errors import LONGEST_DELAY, SettingsError


class Clock:
    """The time by which back-offs, delays and schedules come to their end. It runs, and ``advance`` moves it ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        """By how much it has been moved in all."""
        self._moved: Callable[[], None] | None = None

    def now(self) -> datetime:
        """The time it is, in UTC."""
        return datetime.now(UTC) + self.ahead

    def advance(self, by: timedelta | float) -> None:
        """Let so much time pass at once (a ``timedelta``, or seconds; from 0 to ten years).

        What is due by then is handled by the next ``drain_once()``, or by the instance's own loop. Time-outs of
        handlers that run are not concerned. Raises ``SettingsError`` for what is no such time.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_DELAY:
            raise SettingsError(
                f"advance({by!r}): a clock is moved ahead by 0 seconds to ten years. To begin anew, begin with a new "
                "in_memory()."
            )
        self.ahead += timedelta(seconds=seconds)
        if self._moved is not None:
            self._moved()

    def when_moved(self, call: Callable[[], None]) -> None:
        """Have ``call`` told of every ``advance``."""
        self._moved = call
