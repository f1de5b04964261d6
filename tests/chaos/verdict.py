"""What was seen, beside what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Check:
    """One observation: ``seen`` and the bounds in which it must lie; without bounds it is only told."""

    what: str
    seen: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the observation lies in its bounds."""
        return (self.at_most is None or self.seen <= self.at_most) and (
            self.at_least is None or self.seen >= self.at_least
        )


@dataclass(slots=True)
class Verdict:
    """The observations of one program."""

    title: str
    checks: list[Check] = field(default_factory=list)

    def none_of(self, counts: dict[str, int]) -> None:
        """Add observations that must all be zero."""
        self.checks.extend(Check(what, seen, at_most=0) for what, seen in counts.items())

    def told(self, counts: dict[str, float]) -> None:
        """Add observations without bounds."""
        self.checks.extend(Check(what, seen) for what, seen in counts.items())

    @property
    def broken(self) -> list[Check]:
        """The observations out of bounds."""
        return [check for check in self.checks if not check.holds]

    @property
    def green(self) -> bool:
        """Whether everything holds."""
        return not self.broken

    def table(self) -> str:
        """As text."""
        lines = [f"{self.title}: {'GREEN' if self.green else 'RED'}"]
        lines += [f"  {_mark(check)} {check.what:<62} {check.seen:>10,.6g}  {_bounds(check)}" for check in self.checks]
        return "\n".join(lines)


def caught(twin: str, verdicts: Iterable[Verdict]) -> tuple[bool, str]:
    """Whether a planted defect was noticed, and a line that says by what."""
    by = [f"{check.what} ({check.seen:g})" for verdict in verdicts for check in verdict.broken]
    return bool(by), f"twin {twin!r}: " + (f"caught by {'; '.join(by)}" if by else "NOT CAUGHT")


def _mark(check: Check) -> str:
    if check.at_most is None and check.at_least is None:
        return "·"
    return "✓" if check.holds else "✗"


def _bounds(check: Check) -> str:
    parts = [f"≥ {check.at_least:g}"] if check.at_least is not None else []
    return " ".join(parts + ([f"≤ {check.at_most:g}"] if check.at_most is not None else []))
