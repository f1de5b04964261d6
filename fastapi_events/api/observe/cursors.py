"""Where a page of a list by time ended, as a short text that survives a URL: exact to the microsecond, and unique."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from fastapi_events.errors import InvalidFilter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(\d{1,17})-([0-9a-f]{32})\Z")


def cursor_of(moment: datetime, row_id: UUID) -> str:
    """The cursor that goes on below this row."""
    return f"{(moment - _EPOCH) // timedelta(microseconds=1)}-{row_id.hex}"


def place_of(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    """The row that a cursor names; two None for the beginning. Raises ``InvalidFilter``."""
    if not cursor:
        return None, None
    match = _CURSOR.match(cursor)
    try:
        if match:
            return _EPOCH + timedelta(microseconds=int(match[1])), UUID(match[2])
    except OverflowError:
        pass
    raise InvalidFilter(f"{cursor[:40]!r} is no position of this list. Go back to its first page.")
