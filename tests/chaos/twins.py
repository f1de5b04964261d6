"""Planted defects: the product without one of its guards. Switched on in a worker of the harness alone."""

from __future__ import annotations

import re
from typing import Any

from fastapi_events.engine.drain import LaneDrain
from fastapi_events.store.marks import MarkStore
from fastapi_events.store.statements import Statements
from tests.chaos.options import Twin

# The next place is appended whoever owns the partition now; a parked key is given back whatever its token.
_NEWEST = """(SELECT max(c.seq) + 1 FROM {schema}.cursor_log c
              WHERE c.group_id = $1 AND c.lane = $2 AND c.partition = s.partition)"""
_UNFENCED: dict[str, list[tuple[str, str]]] = {
    "settle_batch": [(r"s\.seq \+ 1", _NEWEST), (r"CROSS JOIN LATERAL \(\s*SELECT 1 FROM.*?LIMIT 1\) mine", "")],
    "settle_key": [(r"AND token = \$3", "AND $3::bigint IS NOT NULL")],
}


class CannotPlant(Exception):
    """The guard that a twin removes is not where it was: the twin must be brought up to date."""


def plant(twin: Twin) -> None:
    """Remove a guard from this process."""
    if twin == "fencing":
        _remove_fences()
    elif twin == "mark":
        _remove_mark()
    elif twin == "crash":
        _remember_too_much()


def _remove_fences() -> None:
    original = Statements.__getitem__
    for name in _UNFENCED:
        _unfenced(name, original(Statements(), name))

    def altered(self: Statements, name: str) -> str:
        text = original(self, name)
        return _unfenced(name, text).replace("{schema}", self.schema) if name in _UNFENCED else text

    Statements.__getitem__ = altered  # type: ignore[method-assign]


def _unfenced(name: str, text: str) -> str:
    for pattern, replacement in _UNFENCED[name]:
        text, count = re.subn(pattern, lambda _, new=replacement: new, text, count=1, flags=re.DOTALL)  # type: ignore[misc]
        if not count:
            raise CannotPlant(f"{name}.sql has no {pattern!r} to remove")
    return text


def _remove_mark() -> None:
    for name in ("take", "take_sync", "literal_take"):
        if not hasattr(MarkStore, name):
            raise CannotPlant(f"MarkStore.{name} is gone")

    async def take(*_: Any) -> bool:
        return True

    def take_sync(*_: Any) -> bool:
        return True

    def literal_take(*_: Any) -> str:
        return "SELECT 1"

    for replacement in (take, take_sync, literal_take):
        setattr(MarkStore, replacement.__name__, replacement)


def _remember_too_much() -> None:
    if not hasattr(LaneDrain, "_forget_outlived"):
        raise CannotPlant("LaneDrain._forget_outlived is gone")
    LaneDrain._forget_outlived = lambda *_: None  # type: ignore[method-assign]
