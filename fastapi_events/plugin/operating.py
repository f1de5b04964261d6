"""What operators read and do, put together for one instance."""

from __future__ import annotations

from collections.abc import Callable

from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import DeadLetterStore
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import GroupStore
from fastapi_events.store.schedule import ScheduleStore
from fastapi_events.store.statements import Statements


def make_observe(database: Database, settings: EventsSettings, group: str) -> Observe:
    """The readings of a group, over connections of their own."""
    return Observe(database.url, schema=settings.db_schema, group=group, pgbouncer=settings.pgbouncer)


def make_operations(
    database: Database, statements: Statements, group_id: Callable[[], int], *, keys_due: Callable[[], None],
    handlers_changed: Callable[[], None],
) -> Operations:  # fmt: skip
    """The actions on a group's deliveries and handlers and on the schedule.

    ``keys_due`` is called after each that let deliveries be handled, ``handlers_changed`` after a pause or a breaker.
    """
    return Operations(
        DeadLetterStore(database, statements), GateStore(database, statements), GroupStore(database, statements),
        ScheduleStore(database, statements), group_id, keys_due=keys_due, handlers_changed=handlers_changed,
    )  # fmt: skip
