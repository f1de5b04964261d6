"""``drain_once(session=...)``: handlers called inside a test's transaction, on PostgreSQL or on memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from fastapi_events.errors import SettingsError
from fastapi_events.plugin.publishing import PUBLISHERS
from fastapi_events.store.own_events import OwnEvents
from fastapi_events.testing.memory.attempts import Attempts
from fastapi_events.testing.memory.within_session import JoinedTransactions, Read, Seen, WithinSession

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events


async def drain_within(events: Events, session: Any) -> int:
    """Handle what the session's open transaction has published, and nothing else, inside that transaction."""
    if isinstance(session, (async_scoped_session, scoped_session)):
        session = cast("Any", session)()
    if not isinstance(session, (AsyncSession, Session)):
        raise SettingsError(
            f"drain_once(session=...) takes the AsyncSession or Session that the test has published on, not a "
            f"{type(session).__qualname__}."
        )
    read: Read
    if (memory := events.on_memory) is not None:
        plan, read = memory.plan, memory.written_on
    else:
        runtime = events.runtime
        plan, read = runtime.plan, OwnEvents(runtime.statements, runtime.partitions).read

    def attempts(seen: Seen, bind: Any) -> Attempts:
        joined = (
            JoinedTransactions(events.session_maker, bind, seen.marks) if isinstance(session, AsyncSession) else None
        )
        return Attempts(
            events.settings, events.registry, seen.marks, publishers=PUBLISHERS,
            make_publisher=events.publishing.for_run, transactions=joined, sync_sessions=None,
        )  # fmt: skip

    return await WithinSession(session, plan, events.publishing, read).drain(attempts)
