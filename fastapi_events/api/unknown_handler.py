"""What is said of a handler that the group does not have."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from fastapi_events.errors import OperationRefused

NEAR_NAME = 0.8
"""How alike names have to be for a guess: those of one module begin alike, whatever they name."""


def unknown_handler(name: object, known: Iterable[str]) -> OperationRefused:
    """The error that names the near miss among the handlers that there are, else where they are listed."""
    near = get_close_matches(str(name), [one for one in known if one != name], n=1, cutoff=NEAR_NAME)
    mend = f"Did you mean {near[0]!r}?" if near else "Look for its id in 'fastapi-events handlers list'."
    return OperationRefused(f"This group has no handler {ascii(name)[:80]}. {mend}")
