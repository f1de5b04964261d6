"""What the handlers of this code are to operators, and the refusal of what cannot be done to a broadcast handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from fastapi_events.errors import OperationRefused

HandlerKind = Literal["plain", "transactional", "broadcast"]
Kinds = Callable[[], Mapping[str, HandlerKind]]
"""What the handlers of this code are, by id."""


def check_recorded(kinds: Kinds, handler: str, what: str) -> None:
    """Raise ``OperationRefused`` if the group keeps nothing of the handler; ``what`` it lacks, and what to do instead.

    To be asked before a replay, and where the group knows no such handler: one that is a broadcast handler by now may
    have been another before, and what is left of that is the group's.
    """
    if kinds().get(handler) == "broadcast":
        raise OperationRefused(
            f"{handler!r} is a broadcast handler: every process calls it with what is published while it lives, and "
            f"nothing of that is recorded. {what}"
        )
