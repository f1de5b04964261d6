"""What readings and actions are given from Python, checked before the database is asked.

``kind`` is the error to raise: ``InvalidFilter`` for a reading, ``OperationRefused`` for an action.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fastapi_events.errors import EventsError, InvalidFilter, OperationRefused

HIGHEST = 2**63 - 1
"""The largest number that the database has room for."""


def aware(name: str, moment: object, *, kind: type[EventsError] = OperationRefused) -> datetime:
    """A moment with a time zone; without one it would be another moment on every server."""
    if not isinstance(moment, datetime):
        raise kind(f"{name}={ascii(moment)[:80]} is no datetime. Pass datetime(..., tzinfo=UTC).")
    if moment.utcoffset() is None:
        raise kind(f"{name}={moment.isoformat()} has no time zone. Pass datetime(..., tzinfo=UTC).")
    return moment


def whole(name: str, number: object, *, kind: type[EventsError] = OperationRefused) -> int:
    """A whole number."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise kind(f"{name}={ascii(number)[:80]} is no whole number. Pass it as an int.")
    return number


def position(name: str, number: object) -> int | None:
    """A position of the log, or None; raises ``InvalidFilter``."""
    if number is not None and not 0 <= whole(name, number, kind=InvalidFilter) <= HIGHEST:
        raise InvalidFilter(
            f"{name}={ascii(number)[:80]} is no position of the log. Pass one that an earlier page gave."
        )
    return number if isinstance(number, int) else None


def tenants_within(
    tenants: Iterable[object], known: tuple[str, ...] | None, *, kind: type[EventsError] = OperationRefused
) -> tuple[str, ...]:
    """Those of the tenants that may be seen; ``known`` None is everybody's."""
    for one in tenants:
        if not isinstance(one, str):
            raise kind(
                f"within({ascii(one)[:80]}): a tenant's id is a text, and each stands for itself. Write "
                "within('acme', 'globex'), or within(*ids) for a list of them."
            )
    # In the tables of ours the empty text stands for no tenant, and what belongs to none is for staff.
    return tuple(sorted({str(one) for one in tenants if one and (known is None or one in known)}))
