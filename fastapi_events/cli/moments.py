"""Times as people read them in a table."""

from __future__ import annotations

from datetime import UTC, datetime


def ago(moment: datetime | None) -> str | None:
    """How long ago, in the largest unit that fits: ``12s``, ``3m``, ``2h``, ``5d``; or ``in 3m``."""
    if moment is None:
        return None
    seconds = (datetime.now(UTC) - moment).total_seconds()
    text = span(abs(seconds))
    return f"in {text}" if seconds < -1 else text


def span(seconds: float) -> str:
    """A length of time in the largest unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def exact(moment: datetime | None) -> str | None:
    """A time to the millisecond, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
