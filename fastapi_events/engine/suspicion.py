"""Telling people of what is in doubt: processes in a row have vanished over it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from fastapi_events.engine.handlers import HandlerPlan

logger = logging.getLogger("fastapi_events")

MOST_NAMED = 20
FOR_OTHERS = frozenset({"no_handler", "trigger_unregistered", "crash_suspect"})
"""Deliveries that other processes have to take, or may help with."""

Suspect = tuple[int, str, UUID]
"""A handler's number, and its event's name and id."""


def tell_of_suspects(suspects: Sequence[Suspect], plan: HandlerPlan) -> None:
    """One line for all that was in hand."""
    by_number = plan.by_number
    named = [
        f"{name} {event} for {by_number[number].id if number in by_number else f'handler {number}'}"
        for number, name, event in suspects[:MOST_NAMED]
    ]
    more = len(suspects) - len(named)
    logger.warning(
        "processes in a row have vanished over the same deliveries: these %d are run alone now, one at a time in each "
        "process: %s%s",
        len(suspects), ", ".join(named), f" and {more} more" if more else "",
    )  # fmt: skip
