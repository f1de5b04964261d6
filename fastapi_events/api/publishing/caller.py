"""Where in the user's code an event was published: kept as two references, read only if it is needed."""

from __future__ import annotations

import inspect
from types import CodeType
from typing import NamedTuple


class Site(NamedTuple):
    """An instruction in a function; its text is ``file:line``."""

    code: CodeType | None
    instruction: int

    def __str__(self) -> str:
        if self.code is None:
            return "an unknown place"
        lines = (line for start, end, line in self.code.co_lines() if line and start <= self.instruction < end)
        return f"{self.code.co_filename}:{next(lines, self.code.co_firstlineno)}"


UNKNOWN = Site(None, 0)


def caller() -> Site:
    """The place that called the function which calls this one; an awaited coroutine is called where it is awaited."""
    here = inspect.currentframe()
    asked = here and here.f_back
    frame = asked and asked.f_back
    site = Site(frame.f_code, frame.f_lasti) if frame else UNKNOWN
    # A frame that knows itself is garbage for the collector, and everything it reaches with it: the session, too.
    del here, asked, frame
    return site
