"""Small, honest charts as SVG geometry: zero-based, drawn by attributes alone, because the policy allows no styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 72


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in the chart's own units, with what it stands for."""

    x: float
    y: float
    width: float
    height: float
    value: int
    minutes_ago: int


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars from the oldest to the newest, and the value of the highest."""

    bars: tuple[Bar, ...]
    highest: int
    total: int


def bar_chart(values: Sequence[int]) -> BarChart:
    """A chart of values per minute, the last of them the current minute."""
    highest, slot = max([*values, 0]), WIDTH / max(len(values), 1)
    bars: list[Bar] = []
    for number, value in enumerate(values):
        height = round(HEIGHT * value / highest, 1) if highest else 0.0
        height = max(height, 1.5) if value else 0.0
        left, top, width = round(number * slot + 1, 1), round(HEIGHT - height, 1), round(slot - 2, 1)
        bars.append(Bar(left, top, width, height, value, len(values) - number))
    return BarChart(tuple(bars), highest, sum(values))
