"""How long pages are."""

from __future__ import annotations

from fastapi_events.api.observe.given import whole
from fastapi_events.errors import InvalidFilter

MAX_PAGE = 100
"""Rows of one page at most."""


def page_size(limit: int) -> int:
    """The number of rows; raises ``InvalidFilter``."""
    if not 1 <= whole("limit", limit, kind=InvalidFilter) <= MAX_PAGE:
        raise InvalidFilter(f"limit={limit} is not from 1 to {MAX_PAGE}.")
    return limit
