"""Sessions that a handler gets from a dependency of the application's: they are not the delivery's."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.injection import Dependency, Given, Source, gives_one_of

logger = logging.getLogger("fastapi_events")

_SESSIONS = (AsyncSession, Session)
_ENDINGS = frozenset({"commit", "begin"})


def warn_of_own_sessions(handlers: Iterable[Handler]) -> None:
    """Say of each handler that its session is not committed with the delivery, nor, as far as is seen, by anybody."""
    for handler in handlers:
        name, path = next(_uncommitted(handler), (None, ()))
        if name is not None:
            declaration = handler.declaration
            kind = "HandlerSession" if handler.is_async else "SyncHandlerSession"
            logger.warning(
                "handler %r (%s): parameter %r uses a session from the dependency %s, which nobody commits: its rows "
                "would be lost, and the delivery done. Take %s: it commits with the delivery. (A session of another "
                "database is the handler's own to commit.)",
                declaration.id, declaration.where, name, " → ".join(map(_name, path)), kind,
            )  # fmt: skip


def _uncommitted(handler: Handler) -> Iterator[tuple[str, tuple[Callable[..., Any], ...]]]:
    """The parameters that lead to a session, each with the dependencies on the way there."""
    for name, source in handler.signature.parameters:
        for path in _paths(source):
            if not any(map(_commits, (handler.function, *path))):
                yield name, path


def _paths(source: Source) -> Iterator[tuple[Callable[..., Any], ...]]:
    if not isinstance(source, Dependency):
        return
    if any(gives_one_of(annotation, _SESSIONS) for annotation in source.gives):
        if not _hands_on(source):
            yield (source.function,)
        return
    for _, inner in source.parameters:
        for path in _paths(inner):
            yield (source.function, *path)


def _hands_on(source: Source) -> bool:
    """Whether a dependency has a session of the delivery, which will be the one that it gives."""
    if isinstance(source, Given):
        return issubclass(source.type, _SESSIONS)
    return any(_hands_on(inner) for _, inner in source.parameters)


def _commits(function: Any) -> bool:
    """Whether a function, or a method of a class, speaks of a commit: it takes care of its session then."""
    parts = vars(function).values() if inspect.isclass(function) else (function,)
    codes = [getattr(inspect.unwrap(part), "__code__", None) for part in parts if callable(part)]
    return any(_ENDINGS.intersection(_names(code)) for code in codes if isinstance(code, CodeType))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
