"""Lengths of time as users give them, in seconds or as a ``timedelta``, checked where they are written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions


def checked_span(
    span: Any, name: str, owner: str, *, none: str = "is no time at all", zero: bool = False, called: bool = False
) -> float | None:  # fmt: skip
    """Seconds, more than 0 and at most ten years; None if it was left out. ``none`` says what is wrong with 0.

    With ``zero``, 0 is a time as well. ``called``: the name is that of what is called with it, not of an option.

    Raises ``ContradictoryOptions``, which names ``owner`` and the option.
    """
    if span is None:
        return None
    shape = f"{name}({{}})" if called else f"{name}={{}}"
    if isinstance(span, bool) or not isinstance(span, int | float | timedelta):
        until = " For a moment, the time until then: moment - datetime.now(UTC)." if isinstance(span, datetime) else ""
        raise ContradictoryOptions(
            f"{owner}: {shape.format(ascii(span)[:80])} is not a number of seconds. Write {shape.format(5)}, or a "
            f"timedelta.{until}"
        )
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if zero and seconds == 0:
        return 0.0
    if not seconds > 0:
        raise ContradictoryOptions(
            f"{owner}: {shape.format(f'{seconds:g}')} {none}. Use {'0 or more' if zero else 'more than 0'}."
        )
    if seconds > LONGEST_DELAY:
        raise ContradictoryOptions(f"{owner}: {shape.format(f'{seconds:g}')} is longer than ten years. Use less.")
    return seconds
