"""Sessions that belong to a delivery: whatever a handler does in one commits together with its acknowledgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.errors import HandlerSessionMisuse

if TYPE_CHECKING:
    from sqlmodel import Session as _SyncBase
    from sqlmodel.ext.asyncio.session import AsyncSession as _AsyncBase
else:
    _AsyncBase, _SyncBase = AsyncSession, Session


def _refuse(what: str) -> NoReturn:
    raise HandlerSessionMisuse(
        f"A handler called {what} on its HandlerSession. The library commits it together with the handler's mark, "
        "or rolls both back. Return to commit, raise to roll back, and use begin_nested() for savepoints."
    )


class HandlerSession(_AsyncBase):
    """The session of one delivery; annotate a handler's parameter with it.

    It is of the class of the application's own ``sessions``. Effects, the processing mark and events published
    through an injected ``EventPublisher`` commit in one transaction, after the handler has returned. ``commit()``,
    ``rollback()`` of the whole transaction and ``close()`` raise ``HandlerSessionMisuse``; savepoints are free.
    """

    async def commit(self) -> None:
        """Refused: the library commits."""
        _refuse("commit()")

    async def rollback(self) -> None:
        """Refused: raise an exception to roll back."""
        _refuse("rollback()")

    async def close(self) -> None:
        """Refused: the library closes."""
        _refuse("close()")


class SyncHandlerSession(_SyncBase):
    """As ``HandlerSession``, for ``def`` handlers, which run in a thread; needs ``Events(sync_sessions=...)``."""

    def commit(self) -> None:
        """Refused: the library commits."""
        _refuse("commit()")

    def rollback(self) -> None:
        """Refused: raise an exception to roll back."""
        _refuse("rollback()")

    def close(self) -> None:
        """Refused: the library closes."""
        _refuse("close()")


def handler_session_class(base: type[Any], kind: type[Any]) -> type[Any]:
    """The application's own session class with ``kind``'s refusals in front."""
    return kind if issubclass(kind, base) else type(kind.__name__, (kind, base), {"__doc__": kind.__doc__})
