"""Sessions that belong to a delivery: whatever a handler does in one commits together with its acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from fastapi_events.errors import HandlerSessionMisuse


def _refuse(what: str) -> NoReturn:
    raise HandlerSessionMisuse(
        f"{what} was called on a HandlerSession. The library commits it together with the handler's mark, or the "
        "result of the job or step, or rolls both back. Return to commit, raise to roll back, and use "
        "begin_nested() for savepoints."
    )


class OwnedSession(Session):
    """A plain session that only the library ends, and that nobody uses after its delivery.

    It is the inner session of a ``HandlerSession`` too, in front of the application's own class.
    """

    is_over = False
    delivery: tuple[Run, Callable[[Run, type[Any]], Any]] | None = None
    """Whose session it is, and what makes its publishers: for events that its rows tell by themselves."""
    sealer: Any = None
    """What was made of it, once a row has told of itself."""

    def commit(self) -> None:
        """Refused: the library commits."""
        _refuse("commit()")

    def rollback(self) -> None:
        """Refused: raise an exception to roll back."""
        _refuse("rollback()")

    def close(self) -> None:
        """Refused: the library closes."""
        _refuse("close()")

    def reset(self) -> None:
        """Refused: the library closes."""
        _refuse("reset()")

    def invalidate(self) -> None:
        """Refused: raise an exception to roll back."""
        _refuse("invalidate()")

    def commit_delivery(self) -> None:
        """Commit and close, as the library."""
        super().commit()
        self.end_delivery()

    def end_delivery(self) -> None:
        """Roll back what was not committed, and close for good."""
        self.is_over = True
        self.delivery = self.sealer = None  # the delivery knows its session: no circle is left to the collector
        super().close()


@event.listens_for(OwnedSession, "after_transaction_create")
def _refuse_late_use(session: OwnedSession, transaction: SessionTransaction) -> None:
    """Whatever a session does begins with a transaction: after its delivery there is none to be had."""
    if session.is_over:
        transaction.close()
        raise HandlerSessionMisuse(
            "A HandlerSession was used after its handler had returned (or job, or step), when its transaction is over "
            "and the connection serves another. Await what is started before returning."
        )


if TYPE_CHECKING:
    from sqlmodel import Session as _SyncBase
    from sqlmodel.ext.asyncio.session import AsyncSession as _AsyncBase

    from fastapi_events.engine.run import Run
else:
    _AsyncBase, _SyncBase = AsyncSession, OwnedSession


class HandlerSession(_AsyncBase):
    """The session of one delivery; annotate a handler's parameter with it.

    It is of the class of the application's own ``sessions``. Effects, the processing mark and events published
    through an injected ``EventPublisher`` commit in one transaction, after the handler has returned. ``commit()``,
    ``rollback()`` of the whole transaction, ``close()``, ``reset()`` and ``invalidate()`` raise
    ``HandlerSessionMisuse``, and so does every use after the delivery; savepoints are free. A handler that ends the
    transaction by another way (its connection, or SQL) fails with ``HandlerSessionMisuse`` at the latest when it
    returns.
    """

    if not TYPE_CHECKING:
        sync_session_class = OwnedSession

    async def commit(self) -> None:
        """Refused: the library commits."""
        _refuse("commit()")

    async def rollback(self) -> None:
        """Refused: raise an exception to roll back."""
        _refuse("rollback()")

    async def close(self) -> None:
        """Refused: the library closes."""
        _refuse("close()")

    async def reset(self) -> None:
        """Refused: the library closes."""
        _refuse("reset()")

    async def invalidate(self) -> None:
        """Refused: raise an exception to roll back."""
        _refuse("invalidate()")


class SyncHandlerSession(_SyncBase):
    """As ``HandlerSession``, for ``def`` handlers, which run in a thread; needs ``Events(sync_sessions=...)``."""


def handler_session_class(base: type[Any], kind: type[Any]) -> type[Any]:
    """The application's own session class with ``kind``'s refusals in front."""
    if issubclass(kind, base):
        return kind
    members: dict[str, Any] = {"__doc__": kind.__doc__}
    if issubclass(base, AsyncSession):
        members["sync_session_class"] = handler_session_class(base.sync_session_class, OwnedSession)
    return type(kind.__name__, (kind, base), members)
