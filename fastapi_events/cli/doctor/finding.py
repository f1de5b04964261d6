"""What a check comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``fail`` keeps events from being handled or may, ``warn`` wants a look; both say the ``mend``."""

    name: str
    status: Status
    message: str
    mend: str | None = None


def ok(name: str, message: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", message)


def warn(name: str, message: str, mend: str) -> Finding:
    """It works, and wants a look."""
    return Finding(name, "warn", message, mend)


def fail(name: str, message: str, mend: str) -> Finding:
    """It does not work, or is about to stop."""
    return Finding(name, "fail", message, mend)


def warn_of(name: str, items: list[str], problem: str, mend: str, *, well: str = "none") -> Finding:
    """A warning of the items, named where ``problem`` has ``{}``; all is well if there is none."""
    return warn(name, problem.format(some(items)), mend) if items else ok(name, well)


def some(items: list[str], most: int = 5) -> str:
    """The first of a list, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more:,} more" if more > 0 else "")
