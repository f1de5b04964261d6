"""From where a run begins again."""

from __future__ import annotations

from typing import Any, get_args

from fastapi_events.errors import InvalidInput
from fastapi_events.model.job import ReplayFrom

PLACES: tuple[ReplayFrom, ...] = get_args(ReplayFrom)


def checked_place(given: Any) -> ReplayFrom:
    """The place; raises ``InvalidInput`` for what is none."""
    for place in PLACES:
        if place == given:
            return place
    raise InvalidInput(f"from_={ascii(given)[:80]}: a run begins again from {', '.join(PLACES[:-1])} or {PLACES[-1]}.")
