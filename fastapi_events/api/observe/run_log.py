"""What runs have said of themselves, read line by line."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi_events.api.observe.given import HIGHEST, whole
from fastapi_events.api.observe.shaping import view_of
from fastapi_events.api.observe.view import View
from fastapi_events.errors import InvalidFilter
from fastapi_events.store.readings import Reader

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
MAX_LINES = 1_000
"""Lines of one page at most."""
_LEVELS: dict[LogLevel, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class RunLogLine(View):
    """A line that a run has said: in which ``attempt``, and in which ``step`` if it was in one.

    ``number`` is its place among those of the run, with gaps. ``logger`` is null for lines of ``job.log``. ``fields``
    is JSON text: what was given as ``extra``.
    """

    number: int
    at: datetime
    level: LogLevel
    message: str
    attempt: int
    step: str | None
    logger: str | None
    fields: str | None
    traceback: str | None


class LogPlace(View):
    """Where in what a run has said some lines are.

    ``older``: there are lines before these, to be read with ``before=older``; null if there are none. ``newest``: where
    to go on, with ``after=newest``; ``more``: there are lines behind it already. ``left_out`` lines are not kept,
    because the run has said too much. ``ended``: the run has, so that nothing more comes.
    """

    older: int | None
    newest: int
    more: bool
    left_out: int
    ended: bool


class RunLogPage(LogPlace):
    """Lines of a run, in their order."""

    lines: tuple[RunLogLine, ...]


def checked_level(level: str | None) -> int:
    """The number from which lines are wanted; raises ``InvalidFilter``."""
    if level is None:
        return 0
    for known, number in _LEVELS.items():
        if known == level:
            return number
    near = get_close_matches(level, get_args(LogLevel), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InvalidFilter(f"level={ascii(level)[:60]} is none of {', '.join(_LEVELS)}.{hint}")


def checked_place(name: str, number: object) -> int | None:
    """The number of a line, or None; raises ``InvalidFilter``."""
    if number is None:
        return None
    if not 0 <= (place := whole(name, number, kind=InvalidFilter)) <= HIGHEST:
        raise InvalidFilter(f"{name}={place} is no number of a line. Pass one that an earlier page gave.")
    return place


def checked_places(before: object, after: object) -> tuple[int | None, int | None]:
    """Both, of which one may be given; raises ``InvalidFilter``."""
    if before is not None and after is not None:
        raise InvalidFilter("before and after were given. Read on in one direction: pass one of them.")
    return checked_place("before", before), checked_place("after", after)


def line_count(limit: int) -> int:
    """The number of lines; raises ``InvalidFilter``."""
    if not 1 <= whole("limit", limit, kind=InvalidFilter) <= MAX_LINES:
        raise InvalidFilter(f"limit={limit} is not from 1 to {MAX_LINES}.")
    return limit


async def log_page(
    reader: Reader, run_id: UUID, before: int | None, after: int | None, level: int, size: int, *, ended: bool
) -> RunLogPage:  # fmt: skip
    """The last lines, those before some line, or those after one."""
    cut = await reader.row("jobs/read_lines_cut", run_id)
    if after is not None:
        rows = await reader.rows("jobs/read_lines_after", run_id, after, level, size + 1)
        shown, older = rows[:size], None
    else:
        rows = await reader.rows("jobs/read_lines_before", run_id, before, level, size + 1)
        shown = rows[:size][::-1]
        older = shown[0]["number"] if len(rows) > size else None
    return RunLogPage(
        lines=tuple(_line(row) for row in shown), older=older,
        newest=shown[-1]["number"] if shown else after or 0, more=after is not None and len(rows) > size,
        left_out=cut["lines"] if cut is not None else 0, ended=ended,
    )  # fmt: skip


def _line(row: Any) -> RunLogLine:
    return view_of(RunLogLine, row, level=_name_of(row["level"]))


def _name_of(number: int) -> LogLevel:
    """The name of a level; of one between two, that of the lower."""
    known: list[LogLevel] = [name for name, at in _LEVELS.items() if at <= max(number, 10)]
    return known[-1]
