"""Writing events on a SQLAlchemy connection, in the transaction that is open there.

With asyncpg the driver's own connection writes the rows: through SQLAlchemy's statement machinery the same INSERT
costs a transaction with one event half as much again. Both are reached by documented attributes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import Connection, exc
from sqlalchemy.pool import Pool

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import NotInTransaction, WrongDatabase
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.log import DatabaseIdentity

_identities: WeakKeyDictionary[Pool, DatabaseIdentity] = WeakKeyDictionary()


def append_on(connection: Connection, port: PublishingPort, envelopes: Sequence[Sealed]) -> list[bool]:
    """Append the events and say of each whether it is a duplicate.

    Raises ``NotInTransaction`` on a connection in autocommit mode, ``WrongDatabase`` if the drain reads another
    database, and SQLAlchemy's errors; in every case nothing counts as published.
    """
    if port.log.in_memory:
        return port.log.append_through(connection, envelopes)
    if check_connection(connection, port):
        return _append_by_driver(connection, port, envelopes)
    duplicates = port.log.append_through(connection, envelopes)
    if port.notify == "transactional":
        port.log.notify_through(connection, port.channel, _places(envelopes))
    return duplicates


def check_connection(connection: Connection, port: PublishingPort) -> bool:
    """Whether asyncpg's own connection may be used; raises as ``append_on`` does."""
    pooled = connection.connection
    driver = pooled.driver_connection
    by_driver = isinstance(driver, asyncpg.Connection) and driver.is_in_transaction()
    if not by_driver and getattr(pooled.dbapi_connection, "autocommit", False):
        raise NotInTransaction(
            "This connection is in AUTOCOMMIT mode, where an event cannot commit together with anything. Publish on a "
            "session or connection with another isolation level."
        )
    _check_database(connection, port)
    return by_driver


def check_identity(port: PublishingPort, found: DatabaseIdentity) -> None:
    """Raise ``WrongDatabase`` unless the drain reads the database that was found."""
    wanted = port.database
    if wanted is not None and found != wanted:
        raise WrongDatabase(
            f"This session is connected to {_described(found)}, but events are handled from {_described(wanted)}: the "
            "event would be stored where nobody looks. Publish on a session of that database, or set database_url "
            "(EVENTS_DATABASE_URL) or Events(sessions=...) to the session's."
        )


def _check_database(connection: Connection, port: PublishingPort) -> None:
    """Compare once per pool: every engine made from another by ``execution_options`` shares it."""
    if port.database is None:
        return
    pool = connection.engine.pool
    found = _identities.get(pool)
    if found is None:
        found = _identities[pool] = port.log.identify_through(connection)
    check_identity(port, found)


def _append_by_driver(connection: Connection, port: PublishingPort, envelopes: Sequence[Sealed]) -> list[bool]:
    async def append(driver: Any) -> list[bool]:
        duplicates = await port.log.append(driver, envelopes)
        if port.notify == "transactional":
            await port.log.notify(driver, port.channel, _places(envelopes))
        return duplicates

    adapted: Any = connection.connection.dbapi_connection
    try:
        duplicates: list[bool] = adapted.run_async(append)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise _as_sqlalchemy_raises(connection, error) from error
    except BaseException:
        # Cancelled while a statement was under way: like SQLAlchemy, trust the connection no further.
        connection.invalidate()
        raise
    return duplicates


def _as_sqlalchemy_raises(connection: Connection, error: Exception) -> exc.DBAPIError:
    """The error that the same statement raises through SQLAlchemy, with the connection in the same state."""
    driver = connection.connection.driver_connection
    # asyncpg raises its internal error where the server ended the connection between two messages.
    lost = isinstance(error, OSError | asyncpg.InternalClientError) or driver is None or driver.is_closed()
    if lost:
        connection.invalidate(error)
    kinds: dict[type[Exception], type[exc.DBAPIError]] = {
        asyncpg.IntegrityConstraintViolationError: exc.IntegrityError,
        asyncpg.SyntaxOrAccessError: exc.ProgrammingError,
        asyncpg.InterfaceError: exc.InterfaceError,
    }
    kind = next((kinds[base] for base in kinds if isinstance(error, base)), exc.DBAPIError)
    return kind("fastapi_events: append events", None, error, connection_invalidated=lost)


def _places(envelopes: Sequence[Sealed]) -> set[LogPlace]:
    return {envelope.place for envelope in envelopes}


def _described(identity: DatabaseIdentity) -> str:
    return f"database {identity.database!r} of the PostgreSQL cluster {identity.system_identifier}"
