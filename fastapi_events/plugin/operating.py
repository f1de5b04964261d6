"""What operators do, put together for one instance."""

from __future__ import annotations

from collections.abc import Callable

from fastapi_events.api.operations import Operations
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import DeadLetterStore
from fastapi_events.store.schedule import ScheduleStore
from fastapi_events.store.statements import Statements


def make_operations(
    database: Database, statements: Statements, group_id: Callable[[], int], changed: Callable[[], None]
) -> Operations:
    """The actions on a group's deliveries and on the schedule; ``changed``: what to call once deliveries were."""
    return Operations(DeadLetterStore(database, statements), group_id, changed, ScheduleStore(database, statements))
