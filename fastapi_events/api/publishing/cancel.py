"""Taking scheduled events back, in the caller's transaction; and what cannot be done without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn
from uuid import UUID

from sqlalchemy import Connection

from fastapi_events.api.publishing.append import check_connection
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import NotInTransaction, PublishError
from fastapi_events.model.run_start import RunStart, Sealed


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


def refuse_undecided(sealed: Sequence[Sealed]) -> None:
    """For attempts without a session: whether such a run is started would be decided after its answer was given."""
    for one in sealed:
        if isinstance(one, RunStart) and one.explicit_id:
            raise NotInTransaction(
                f"jobs.start({one.name}, ...) without a session: whether the run is started at all, or another one "
                "stands for it, is decided in a transaction, and there is none before the attempt has succeeded. Add a "
                "parameter session: HandlerSession."
            )
