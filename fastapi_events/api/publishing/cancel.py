"""Taking scheduled events back, in the caller's transaction."""

from __future__ import annotations

from typing import NoReturn
from uuid import UUID

from sqlalchemy import Connection

from fastapi_events.api.publishing.append import check_connection
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import NotInTransaction, PublishError


def cancel_on(connection: Connection, port: PublishingPort, event_id: UUID) -> bool:
    """Cancel on a connection of SQLAlchemy's; raises as ``append_on`` does."""
    if not port.log.in_memory:
        check_connection(connection, port)
    return port.log.cancel_through(connection, event_id)


def checked_event_id(event_id: object) -> UUID:
    """The id; raises ``PublishError`` for anything else."""
    if isinstance(event_id, UUID):
        return event_id
    raise PublishError(
        f"publish.cancel() takes an event id, which is a UUID, not a {type(event_id).__qualname__}. It is the event_id "
        "that publish() answered; for a text write UUID(text)."
    )


def refuse_without_session() -> NoReturn:
    """For handlers whose events are appended with their success: there is no transaction to cancel in."""
    raise NotInTransaction(
        "publish.cancel() in a handler without a session has no transaction to be part of. Add a parameter "
        "session: HandlerSession to the handler, or call events.operations.cancel_scheduled(event_id, actor=...), "
        "which commits by itself."
    )
