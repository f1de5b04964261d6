"""Interleaved rounds: A B C A B C …, so that a slow minute of the machine falls on all of them alike."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

Figures = Mapping[str, float]
Measure = Callable[[], Awaitable[Figures]]
# No measure takes a third of it: a product that hangs is an error, not a night's run.
_DEADLINE_SECONDS = 600.0


@dataclass(frozen=True)
class Spread:
    """The median of several rounds with the smallest and the largest value."""

    median: float
    smallest: float
    largest: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one value per round."""
        return cls(statistics.median(values), min(values), max(values), len(values))


class Rounds:
    """What was measured: for every label, one set of figures per round."""

    def __init__(self, measured: Mapping[str, Sequence[Figures]]) -> None:
        self.measured = measured

    def values(self, label: str, figure: str) -> list[float]:
        """A figure's values, round by round."""
        return [figures[figure] for figures in self.measured[label]]

    def spread(self, label: str, figure: str) -> Spread:
        """A figure's median, smallest and largest value."""
        return Spread.of(self.values(label, figure))

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> Spread:
        """The spread of the quotients of two (label, figure), each taken inside one round."""
        pairs = zip(self.values(*over), self.values(*under), strict=True)
        return Spread.of([numerator / denominator for numerator, denominator in pairs])


async def interleave(rounds: int, measures: Mapping[str, Measure], *, title: str) -> Rounds:
    """Run every measure once per round, in the given order, and tell the progress on standard error."""
    measured: dict[str, list[Figures]] = {label: [] for label in measures}
    for turn in range(1, rounds + 1):
        for label, measure in measures.items():
            async with asyncio.timeout(_DEADLINE_SECONDS):
                figures = await measure()
            measured[label].append(figures)
            shown = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
            sys.stderr.write(f"[{title}] round {turn}/{rounds} {label}: {shown}\n")
    return Rounds(measured)
