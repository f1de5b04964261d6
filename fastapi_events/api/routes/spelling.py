"""Query parameters that are nearly ours: a misspelt one must not pass as one that was left out."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from fastapi import Depends, Request

from fastapi_events.errors import InvalidFilter


def spelt(*names: str) -> Any:
    """A dependency of a route that takes these parameters: what is nearly one of them is refused, naming that one.

    What is like none of them is left alone: it may be for ``authorize``, or a proxy.
    """

    async def check(request: Request) -> None:
        for given in request.query_params:
            near = [] if given in names else get_close_matches(given, names, n=1)
            if near:
                error = InvalidFilter(f"There is no parameter {given[:60]!r}. Did you mean {near[0]!r}?")
                error.where = given[:60]
                raise error

    return Depends(check)
