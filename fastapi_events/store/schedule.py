"""The schedule: events that wait for their time, moved to the log when it comes, or taken out before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from fastapi_events.errors import NotFound
from fastapi_events.model.identity import new_id
from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import explained
from fastapi_events.store.statements import Statements


class ScheduleStore:
    """Moves what is due to the log, and cancels by an operator's hand."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def next_due(self, look_back: float | None) -> float | None:
        """Seconds until the next event is due, not above zero if one is; None if none is scheduled.

        ``look_back`` seconds limit the search behind now (None: everything).
        """
        rows = await self._database.fetch(self._statements["next_scheduled"], look_back)
        return rows[0]["seconds"] if rows else None

    async def append_due(self, limit: int, look_back: float | None) -> list[LogPlace]:
        """Append up to ``limit`` events that are due, those that have waited longest first; returns their places.

        None are appended while another process does so.
        """
        rows = await self._database.fetch(self._statements["append_due_events"], limit, look_back)
        return [place_of(row["lane"], row["partition"]) for row in rows]

    async def cancel(self, event_id: UUID, *, actor: str, reason: str, tenants: Sequence[str] | None = None) -> bool:
        """Take an event from the schedule, and record who did so; False if it is not there.

        Of some tenants (None: everybody's), one that is not there and one that is not theirs look alike: ``NotFound``.
        """
        with explained(
            "This event is being appended to the log, or cancelled by somebody else, at this moment. Nothing was "
            "changed; try again."
        ):
            async with self._database.acquire() as connection, self._database.steered(connection):
                await connection.execute("SET LOCAL synchronous_commit = on")
                rows = await connection.fetch(self._statements["withdraw_scheduled_event"], event_id, tenants)
                if tenants is not None and not rows:
                    raise NotFound(f"No event {event_id} is scheduled (any more). Nothing was changed.")
                facts = {"reason": reason, "cancelled": bool(rows), "event": rows[0]["name"] if rows else None}
                await connection.execute(
                    self._statements["record_action"], new_id(), "cancel_scheduled", actor, str(event_id),
                    json.dumps(facts), [row["tenant_id"] or "" for row in rows],
                )  # fmt: skip
        return bool(rows)
