"""Finding a peer's best settings: several are tried on a backlog, and the best is measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.rounds import Figures, interleave


@dataclass(frozen=True)
class Tuned:
    """Of each product the subject to measure, settings included, and a line that says what was tried."""

    best: Mapping[str, str]
    notes: Sequence[str]


async def tune(
    candidates: Mapping[str, Sequence[str]], measure: Callable[[str], Awaitable[Figures]], rounds: int, *, figure: str
) -> Tuned:
    """Measure all candidates of all products in interleaved rounds; the highest median of ``figure`` wins."""
    names = [name for several in candidates.values() for name in several if len(several) > 1]
    tried = await interleave(rounds, {name: partial(measure, name) for name in names}, title="tuning")
    best, notes = dict[str, str](), list[str]()
    for product, several in candidates.items():
        if len(several) == 1:
            best[product] = several[0]
            continue
        medians = {name: tried.spread(name, figure).median for name in several}
        best[product] = max(medians, key=lambda name: medians[name])
        shown = ", ".join(f"{_settings(name)}: {medians[name]:,.0f}/s" for name in several)
        notes.append(f"{product} was tried with {shown}; measured with {_settings(best[product])}.")
    return Tuned(best, notes)


def _settings(name: str) -> str:
    return name.partition("@")[2].replace("=", " ").replace(",", ", ").replace("_", " ") or "its default"
