"""How values are written for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

_STEPS = ((60, 1, "s"), (3600, 60, "min"), (2 * 86_400, 3600, "h"), (float("inf"), 86_400, "d"))
_INDENT = "  "


def ago(moment: datetime) -> str:
    """How long ago, or in how long: ``14 s ago``, ``in 3 min``."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A duration in one unit: ``14 s``, ``3 min``, ``5 h``, ``9 d``."""
    size, unit = next((size, unit) for limit, size, unit in _STEPS if seconds < limit)
    return f"{int(seconds // size):,} {unit}"


def duration(seconds: float | None) -> str:
    """A measured time with sensible precision: ``0.8 ms``, ``41 ms``, ``2.31 s``, ``4 min``; a dash for none."""
    if seconds is None:
        return "–"
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else span(seconds)


def absolute(moment: datetime) -> str:
    """The whole truth: ``2026-11-21 07:49:12.765 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def iso(moment: datetime) -> str:
    """For machines, exact to the microsecond."""
    return moment.astimezone(UTC).isoformat()


def count(number: int, capped: bool = False) -> str:
    """A number with separators; ``10,000+`` where counting was stopped."""
    return f"{number:,}+" if capped else f"{number:,}"


def amount(number: float) -> str:
    """A number that may have a fraction: ``1,200``, ``0.25``."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.2f}"


def middle(text: object, head: int = 8, tail: int = 4) -> str:
    """An id shortened in the middle."""
    whole = str(text)
    return whole if len(whole) <= head + tail + 1 else f"{whole[:head]}…{whole[-tail:]}"


def pretty(value: Any) -> str:
    """JSON with indentation and every number exact."""
    return "".join(_pretty(value, ""))


def _pretty(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        fields = cast("dict[str, Any]", value).items()
        labelled = [(f"{json.dumps(key, ensure_ascii=False)}: ", inner) for key, inner in fields]
        yield from _inside("{", "}", labelled, indent)
    elif isinstance(value, list) and value:
        yield from _inside("[", "]", [("", inner) for inner in cast("Sequence[Any]", value)], indent)
    elif isinstance(value, Decimal):
        yield str(value)
    else:
        yield json.dumps(value, ensure_ascii=False)


def _inside(start: str, end: str, items: list[tuple[str, Any]], indent: str) -> Iterator[str]:
    deeper = indent + _INDENT
    yield start
    for number, (label, inner) in enumerate(items):
        yield f"{',' if number else ''}\n{deeper}{label}"
        yield from _pretty(inner, deeper)
    yield f"\n{indent}{end}"
