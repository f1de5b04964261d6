"""What memory does not do is refused aloud, by what it was called."""

from __future__ import annotations

from typing import Any, NoReturn

from fastapi_events.errors import NotOnMemory

HOW = (
    "Test it on PostgreSQL: EVENTS_DATABASE_URL=embedded brings a server of its own, with "
    "pip install 'fastapi-events-pg[embedded]'."
)


def refuse(what: str, why: str, mend: str = HOW) -> NoReturn:
    """Raise ``NotOnMemory``."""
    raise NotOnMemory(f"{what}: {why} (events are kept in memory here). {mend}")


class Refusing:
    """Stands for a part that memory lacks: everything that is asked of it is refused."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(self._part, "memory keeps nothing that it could read or change")
