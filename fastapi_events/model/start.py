"""``start=``: whether a handler that is new begins with what comes or with history, checked where it is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from fastapi_events.errors import ContradictoryOptions

WORDS = ("now", "beginning")
HIGHEST_POSITION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Start:
    """The history that a new handler is given first: from a position on, or what was published since a moment."""

    position: int = 0
    since: datetime | None = None

    def __str__(self) -> str:
        if self.since is not None:
            return f"start={self.since.isoformat()}"
        return f"start={self.position}" if self.position else "start='beginning'"


def checked_start(start: Any, owner: str, *, broadcast: bool) -> Start | None:
    """Where it begins, None for now; raises ``ContradictoryOptions`` for what is no place in the log."""
    found = _place(start, owner)
    if found is not None and broadcast:
        raise ContradictoryOptions(
            f"{owner}: start= does not go with broadcast=True: a broadcast handler hears what is published while its "
            "process lives, and history is given to none. Leave start= out, or broadcast=True."
        )
    return found


def _place(start: Any, owner: str) -> Start | None:
    if isinstance(start, str) and start in WORDS:
        return None if start == "now" else Start()
    if isinstance(start, datetime):
        return Start(since=_moment(start, owner))
    if type(start) is int:
        if not 0 <= start <= HIGHEST_POSITION:
            raise ContradictoryOptions(
                f"{owner}: start={start} is no position in the log: they are whole numbers from 0 on. Write "
                "start='beginning' for all of history, or start='now' for none."
            )
        return Start(start)
    near = get_close_matches(start, WORDS, n=1) if isinstance(start, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ContradictoryOptions(
        f"{owner}: start={ascii(start)[:80]} is no place to start from. Write start='now', 'beginning', a position "
        f"such as 1200, or a datetime with a time zone.{hint}"
    )


def _moment(start: datetime, owner: str) -> datetime:
    if start.utcoffset() is None:
        raise ContradictoryOptions(
            f"{owner}: start={start.isoformat()} has no time zone, so it is another moment on every server. Write "
            "datetime(..., tzinfo=UTC)."
        )
    if start > datetime.now(UTC):
        raise ContradictoryOptions(
            f"{owner}: start={start.isoformat()} is in the future, where there is no history yet. Write start='now': "
            "what is published from its registration on is given to every new handler."
        )
    try:
        return start.astimezone(UTC)
    except OverflowError as error:
        raise ContradictoryOptions(
            f"{owner}: start={start.isoformat()} is before the year 1 in UTC. Write start='beginning'."
        ) from error
