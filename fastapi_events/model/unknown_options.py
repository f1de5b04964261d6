"""What is said of a keyword that nothing takes: a misspelt one must not pass as one that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from fastapi_events.errors import UnknownOption


def check_known(given: Iterable[str], known: Sequence[str], *, owner: str) -> None:
    """Raise ``UnknownOption`` for what ``owner`` does not take, naming the near miss."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise UnknownOption(f"{owner} has no option {name!r}. {hint}The options are {', '.join(known)}.")
