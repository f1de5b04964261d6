"""Commits that return after their events have been handled, where the setting ``immediate`` asks for it.

The hooks are set once an instance with that setting has started; without one they do not exist. The wait is made when
the session's transaction has ended: its connection is back in the pool, where a handler may need it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import cache
from typing import Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util.concurrency import await_only, in_greenlet

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.api.publishing.session_events import events_of
from fastapi_events.model.context import in_handler

logger = logging.getLogger("fastapi_events")

_KEY = "fastapi_events.immediate"


class Handling(Protocol):
    """Who can tell that events have been handled."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it lives on."""
        ...

    async def handled(self, event_ids: Sequence[UUID], /) -> None:
        """Return when they have been attempted, or it has lasted too long. Raises nothing."""
        ...


_attached: WeakKeyDictionary[PublishingPort, Handling] = WeakKeyDictionary()


def attach(port: PublishingPort, handling: Handling) -> None:
    """Let commits of sessions that publish through ``port`` wait."""
    _install()
    _attached[port] = handling


def detach(port: PublishingPort) -> None:
    """Let them wait no more; idempotent."""
    _attached.pop(port, None)


@cache
def _install() -> None:
    # Before the hook that forgets what was published.
    event.listen(Session, "after_commit", _after_commit, insert=True)
    event.listen(Session, "after_transaction_end", _after_transaction_end)


def _after_commit(session: Session) -> None:
    events = events_of(session)
    if events is None or session.get_nested_transaction() is not None:
        return
    handling = _attached.get(events.port)
    # A handler's commit is part of what is being waited for, or would be: its own events come in the next round.
    if handling is not None and events.buffer.written and not in_handler():
        now = [entry.envelope.id for entry in events.buffer.written if entry.envelope.due is None]
        session.info[_KEY] = (handling, now)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested or transaction.parent is not None:
        return
    handling, event_ids = session.info.pop(_KEY, (None, ()))
    if handling is not None and event_ids:
        _wait(handling, event_ids)


def _wait(handling: Handling, event_ids: Sequence[UUID]) -> None:
    if handling.loop.is_closed():
        return
    here = _running_loop()
    if in_greenlet():
        await_only(handling.handled(event_ids) if here is handling.loop else _elsewhere(handling, event_ids))
    elif here is None:
        asyncio.run_coroutine_threadsafe(handling.handled(event_ids), handling.loop).result()
    else:
        logger.warning(
            "immediate: a plain Session was committed on an event loop, which cannot wait: its events are handled "
            "afterwards. Commit an AsyncSession there, or the Session in a thread."
        )


async def _elsewhere(handling: Handling, event_ids: Sequence[UUID]) -> None:
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(handling.handled(event_ids), handling.loop))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
