"""What one attempt at a run says: gathered here, kept by whoever keeps those of all."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from fastapi_events.engine.failure import failure_of, safe_text
from fastapi_events.model.secrets import HIDDEN, is_secret_name

MAX_MESSAGE = 4_000
"""Characters of a line's message."""
MAX_TRACEBACK = 8_000
MAX_FIELDS = 20
MAX_FIELD = 500
"""Characters of a field's value."""
SPARE = 4
"""Times that is held until it is cut, so that what is secret is found whole."""
_LARGEST = 2**53
_HIGHEST_LEVEL = 1_000
_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given as ``extra``."""

current_step: ContextVar[str | None] = ContextVar("fastapi_events_step", default=None)
"""The step that runs in this context; set in tasks of its own, so that nothing has to be reset."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, bounded; its secrets are hidden when it is kept, and it is cut then, so that no part of one is left."""

    said: float
    level: int
    step: str | None
    logger: str | None
    message: str
    fields: Mapping[str, Any]
    traceback: str | None


class RunLines:
    """The lines of one attempt that are not kept yet. Threads may say some too.

    A run keeps ``most`` lines, of which the last tenth is for warnings and errors; ``known`` is how many it has kept
    already, None where that has to be asked.
    """

    __slots__ = ("_closed", "_left_out", "_lock", "_most", "_waiting", "_wanted", "keeper", "known")

    def __init__(self, most: int, known: int | None, keeper: object, wanted: Callable[[RunLines], None]) -> None:
        self._most, self.known, self.keeper, self._wanted = most, known, keeper, wanted
        self._lock = threading.Lock()
        self._waiting: list[Line] = []
        self._left_out = 0
        self._closed = False

    def say(self, record: logging.LogRecord, logger: str | None) -> None:
        """Take a record in, if there is room; it is counted otherwise. Never raises."""
        if self._closed:
            return
        line = _line_of(record, logger) if self._has_room(record.levelno, len(self._waiting)) else None
        with self._lock:
            if self._closed:
                return
            if line is None:
                self._left_out += 1
            else:
                self._waiting.append(line)
        self._wanted(self)

    def take(self) -> tuple[list[Line], int]:
        """What there is, as far as there is room for it, and how many are left out."""
        with self._lock:
            waiting, left_out = self._waiting, self._left_out
            self._waiting, self._left_out = [], 0
        lines: list[Line] = []
        for line in waiting:
            if self._has_room(line.level, len(lines)):
                lines.append(line)
        return lines, left_out + len(waiting) - len(lines)

    def put_back(self, lines: list[Line], left_out: int) -> None:
        """They could not be kept: they are taken again."""
        with self._lock:
            self._waiting[:0] = lines
            self._left_out += left_out

    def close(self) -> None:
        """Nothing that the attempt says from now on counts."""
        with self._lock:
            self._closed = True

    @property
    def has_news(self) -> bool:
        """Whether anything is not kept yet."""
        return bool(self._waiting or self._left_out)

    @property
    def waits(self) -> int:
        """How many lines wait to be kept."""
        return len(self._waiting)

    def _has_room(self, level: int, waiting: int) -> bool:
        room = self._most - (self._most // 10 if level < logging.WARNING else 0)
        return (self.known or 0) + waiting < room


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines are kept with the run, from a level on, whatever the application does with logging."""

    def __init__(self, logger: logging.Logger, about: Mapping[str, object], lines: RunLines | None, level: int) -> None:
        super().__init__(logger, about)
        self._about, self._lines, self._level = about, lines, level

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's
        """Whether anybody wants a line of this level."""
        return self._keeps(level) or self.logger.isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Which run it is about goes beside what the job says of the line."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **self._about}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Keep the line, and hand it on to the logger."""
        if not self.isEnabledFor(level):
            return
        if self._lines is not None and self._keeps(level):
            extra = kwargs.get("extra")
            error = _error_of(kwargs.get("exc_info"))
            about = None if error is None else (type(error), error, error.__traceback__)
            record = self.logger.makeRecord(self.logger.name, level, "", 0, msg, args, about, extra=extra)
            self._lines.say(record, None)
        if self.logger.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            given, kept = self.process(msg, kwargs)
            self.logger.log(level, given, *args, **kept)

    def _keeps(self, level: int) -> bool:
        return self._lines is not None and level >= self._level


def _error_of(given: Any) -> BaseException | None:
    """What ``logging`` understands by ``exc_info``."""
    if isinstance(given, tuple):
        given = next((one for one in cast(tuple[object, ...], given) if isinstance(one, BaseException)), None)
    return given if isinstance(given, BaseException) or not given else sys.exception()


def _line_of(record: logging.LogRecord, logger: str | None) -> Line:
    error = record.exc_info[1] if record.exc_info else None
    extra = {name: value for name, value in vars(record).items() if name not in _PLAIN}
    return Line(
        said=time.monotonic(),
        level=max(0, min(record.levelno, _HIGHEST_LEVEL)),
        step=current_step.get(),
        logger=None if logger is None else safe_text(logger, 200),
        message=safe_text(_message_of(record), SPARE * MAX_MESSAGE),
        fields={safe_text(name, 100): _plain(name, value) for name, value in list(extra.items())[:MAX_FIELDS]},
        traceback=None if error is None else failure_of(error).traceback,
    )


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a line that cannot be put together must not end an attempt
        return f"{_text(record.msg)} (its arguments do not fit: {_text(record.args)})"


def _plain(name: str, value: Any) -> Any:
    """A value that JSON and PostgreSQL hold exactly; anything else as its text."""
    if is_secret_name(name):
        return HIDDEN
    if value is None or isinstance(value, bool) or (isinstance(value, int) and -_LARGEST < value < _LARGEST):
        return value
    if isinstance(value, float) and abs(value) < _LARGEST:
        return value
    return safe_text(_text(value), SPARE * MAX_FIELD)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - somebody's __str__
        return f"({type(value).__qualname__}, whose text cannot be made)"
