"""Where in the user's code an event was published: kept as two references, read only if it is needed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import sys
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any, Literal, NamedTuple

Whose = Literal["user", "library", "runner"]


class Site(NamedTuple):
    """An instruction in a function; its text is ``file:line``.

    ``handling`` tells which exception was being handled there. It is compared, never followed: it is an ``id()``.
    ``by_task`` says that no code of the user's made the call, and that the place is the endpoint it was made for.
    """

    code: CodeType | None
    instruction: int
    handling: int = id(None)
    by_task: bool = False

    def __str__(self) -> str:
        if self.code is None:
            return "an unknown place"
        lines = (line for start, end, line in self.code.co_lines() if line and start <= self.instruction < end)
        where = f"{self.code.co_filename}:{next(lines, self.code.co_firstlineno)}"
        return f"{where} (in a task of this endpoint)" if self.by_task else where


def caller(endpoint: Any = None) -> Site:
    """The innermost place outside this package; an awaited coroutine is called where it is awaited.

    What runs as a task of its own, or by itself in a thread, was called by nobody: then the place is ``endpoint``, the
    function of the request, if there is one, else unknown.
    """
    here = inspect.currentframe()
    asked = here and here.f_back
    frame = asked and asked.f_back
    whose = None
    while frame is not None:
        file = frame.f_code.co_filename
        whose = _whose.get(file) or _learn(file)
        if whose != "library":
            break
        frame = frame.f_back
    handling = id(sys.exception())
    if frame is not None and whose == "user":
        site = Site(frame.f_code, frame.f_lasti, handling)
    else:
        code = getattr(inspect.unwrap(endpoint), "__code__", None) if endpoint is not None else None
        site = Site(code, 0, handling, True)
    # A frame that knows itself is garbage for the collector, and everything it reaches with it: the session, too.
    del here, asked, frame
    return site


def _learn(file: str) -> Whose:
    """Whose code is in a file; remembered, for this is asked on every publish."""
    whose: Whose = "library" if file.startswith(_PACKAGE) else "runner" if file.startswith(_runners()) else "user"
    return _whose.setdefault(file, whose)


@cache
def _runners() -> tuple[str, ...]:
    """What calls a function that it was handed, from a place that says nothing about who wanted it."""
    specs = [spec for name in ("anyio", "starlette") if (spec := find_spec(name)) is not None]  # found, not imported
    files = [asyncio.__file__, concurrent.futures.__file__, *(spec.origin for spec in specs)]
    return (*(_folder(file) for file in files if file), str(threading.__file__))


def _folder(file: str) -> str:
    return str(Path(file).parent / "_")[:-1]


_whose: dict[str, Whose] = {}
_PACKAGE = _folder(str(Path(caller.__code__.co_filename).parents[1]))
