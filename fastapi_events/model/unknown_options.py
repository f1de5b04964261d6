"""What is said of a keyword that nothing takes: a misspelt one must not pass as one that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING, Any

from fastapi_events.errors import UnknownOption


def check_known(given: Iterable[str], known: Sequence[str], *, owner: str) -> None:
    """Raise ``UnknownOption`` for what ``owner`` does not take, naming the near miss."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise UnknownOption(f"{owner} has no option {name!r}. {hint}The options are {', '.join(known)}.")


class RefusesUnknown:
    """For classes of options: a keyword that the class does not take is an ``UnknownOption``, with the near miss."""

    __slots__ = ()

    if not TYPE_CHECKING:  # checkers know the keywords from __init__

        def __new__(cls, *_arguments: Any, **given: Any) -> Any:
            _, *known = signature(cls.__init__).parameters
            check_known(given, known, owner=cls.__name__)
            return object.__new__(cls)
