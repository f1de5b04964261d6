"""Making an error safe to store. Total: whatever the exception is, a record of it comes out."""

from __future__ import annotations

import hashlib
import re
import traceback
from itertools import dropwhile, islice
from types import FrameType, TracebackType

from fastapi_events.model.outcome import Failure

MAX_MESSAGE = 8_000
MAX_TRACEBACK = 32_000
_MAX_FRAMES = 60
_MAX_CHAIN = 5
_OWN = __name__.partition(".")[0]
# Called by the library for its own work, such as a commit, and by its users from code of theirs.
_SERVANTS = {"asyncio", "asyncpg", "concurrent", "pydantic", "sqlalchemy"}
# Control characters but tab and newline: NUL is refused by PostgreSQL, escape sequences would reach terminals.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VARIABLE = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"")


def failure_of(error: BaseException) -> Failure:
    """Type, message and traceback of an error: bounded (8,000 and 32,000 characters) and free of hostile characters."""
    return Failure(
        error_type=safe_text(_type_name(error), 200),
        message=safe_text(_message(error), MAX_MESSAGE),
        traceback=safe_text(_traceback(error), MAX_TRACEBACK),
    )


def failure(error_type: str, message: str) -> Failure:
    """A failure that no exception stands for, such as a time-out."""
    return Failure(error_type=error_type, message=safe_text(message, MAX_MESSAGE), traceback="")


def safe_text(text: str, limit: int) -> str:
    """``text`` cut in the middle to ``limit`` characters, with everything escaped that cannot be stored or shown."""
    text = _cut(text, limit).encode("utf-8", "backslashreplace").decode("utf-8")
    # Cut before, so that little is escaped, and after, since escapes are longer than what they stand for.
    return _cut(_CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text), limit)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = (limit - 60) // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters cut …\n{text[-half:]}"


def fingerprint_of(failure: Failure) -> str:
    """Sixteen hex digits that failures of one cause share: the type, and the message without what varies."""
    first_line = failure.message.split("\n", 1)[0]
    cause = f"{failure.error_type}\n{_VARIABLE.sub('#', first_line)}\n{_last_frame(failure.traceback)}"
    return hashlib.sha256(cause.encode()).hexdigest()[:16]


def _last_frame(text: str) -> str:
    """The innermost frame, without its line number, so that an edit above it does not make a new group."""
    frames = [line for line in text.splitlines() if line.startswith('  File "')]
    return re.sub(r", line \d+", "", frames[-1]).strip() if frames else ""


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a broken __str__ must not lose the record
        return "(the exception's own message could not be read)"


def _traceback(error: BaseException) -> str:
    """The frames of the error and of its causes; without locals, which may hold secrets."""
    try:
        return "\n".join(_sections(error))
    except BaseException:  # noqa: BLE001 - recording a failure never fails
        return "(the traceback could not be formatted)"


def _sections(error: BaseException) -> list[str]:
    sections: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(sections) < _MAX_CHAIN:
        seen.add(id(link))
        frames = _frames(link.__traceback__)[-_MAX_FRAMES:]
        stack = "".join(traceback.StackSummary.extract(iter(frames)).format())
        sections.append(f"{stack}{_type_name(link)}: {_message(link)[:MAX_MESSAGE]}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    sections.reverse()
    return sections


def _frames(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The frames from the user's first one on; all of them if it was the library's own work that failed."""
    frames = list(islice(traceback.walk_tb(trace), 1000))
    theirs = list(dropwhile(lambda frame: _package(frame[0]) == _OWN, frames))
    return theirs if theirs and _package(theirs[0][0]) not in _SERVANTS else frames


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
