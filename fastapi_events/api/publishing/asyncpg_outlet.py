"""Publishing on a bare asyncpg connection: appended at once, inside the transaction that must be open there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from fastapi_events.api.publishing.append import check_identity
from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import NotInTransaction, SessionClosed
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.log import DatabaseIdentity

_identities: WeakKeyDictionary[Any, DatabaseIdentity] = WeakKeyDictionary()


class AsyncpgOutlet:
    """Onto an asyncpg connection, or one that a pool has lent.

    asyncpg has no commit hook, but it tells a query logger of each statement: the COMMIT is heard there.
    """

    def __init__(self, port: PublishingPort, connection: Any) -> None:
        self._port, self._connection = port, connection
        # A pool's proxy lives for one loan and is asked each time.
        self._lasting = not isinstance(connection, PoolConnectionProxy)
        self._places: set[LogPlace] = set()
        self._listening = False

    async def put(self, envelopes: Sequence[Sealed], _site: Site, /) -> list[bool]:
        self._check_transaction()
        await self._check_database()
        port, connection = self._port, self._connection
        duplicates = await port.log.append(connection, envelopes)
        places = {envelope.place for envelope, duplicate in zip(envelopes, duplicates, strict=True) if not duplicate}
        if places and port.notify == "transactional":
            await port.log.notify(connection, port.channel, places)
        self._wake_after_commit(places)
        return duplicates

    async def cancel(self, event_id: UUID, /) -> bool:
        self._check_transaction()
        await self._check_database()
        return await self._port.log.cancel(self._connection, event_id)

    def _check_transaction(self) -> None:
        try:
            closed, in_transaction = self._connection.is_closed(), self._connection.is_in_transaction()
        except asyncpg.InterfaceError as error:
            raise SessionClosed(f"This connection went back to its pool ({error}). Publish before that.") from error
        if closed:
            raise SessionClosed("This connection is closed. Publish before that, in the transaction of your rows.")
        if not in_transaction:
            raise NotInTransaction(
                "This asyncpg connection has no open transaction, so the event would commit by itself, apart from your "
                "rows. Publish inside `async with connection.transaction():`."
            )

    async def _check_database(self) -> None:
        if self._port.database is None:
            return
        found = _identities.get(self._connection) if self._lasting else None
        if found is None:
            found = await self._port.log.identify(self._connection)
        if self._lasting:
            _identities[self._connection] = found
        check_identity(self._port, found)

    def _wake_after_commit(self, places: Collection[LogPlace]) -> None:
        if not places:
            return
        self._places.update(places)
        if not self._listening:
            self._listening = True
            self._connection.add_query_logger(self._heard)

    def _heard(self, record: Any) -> None:
        words = record.query.upper().replace(";", " ").split()
        committed = words[:1] in (["COMMIT"], ["END"])
        if not committed and not (words[:1] in (["ROLLBACK"], ["ABORT"]) and "TO" not in words):
            return
        self._listening = False
        with suppress(asyncpg.InterfaceError):  # a pool's connection that has been given back by now
            self._connection.remove_query_logger(self._heard)
        places, self._places = self._places, set()
        if places and committed and record.exception is None:
            self._port.committed(places)


def is_usable(connection: Any) -> bool:
    """Whether the connection is open, and not given back to its pool."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False
