"""Taking the content of an aggregate's events away, in transactions of a bounded size; each records itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi_events.model.erasure import ERASED_PAYLOAD, ERASED_TEXT
from fastapi_events.model.identity import new_id
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import explained
from fastapi_events.store.statements import Statements

PAGE = 500
"""Events of one transaction: their rows are locked together, which a delivery that is settled would wait for."""

# In the way that an event goes: one that goes on meanwhile is found at its next place.
_SURVEY = (
    ("survey_scheduled_events", ERASED_PAYLOAD),
    ("survey_events", ERASED_PAYLOAD, ERASED_TEXT),
    ("survey_copies", ERASED_PAYLOAD, ERASED_TEXT),
)
_ERASE = (
    ("erase_scheduled_events", ERASED_PAYLOAD),
    ("erase_events", ERASED_PAYLOAD, ERASED_TEXT),
    ("erase_copies", ERASED_PAYLOAD, ERASED_TEXT),
)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Whose content it is: an aggregate, of these tenants (the empty text is nobody's; None is anybody's)."""

    name: str
    id: str
    tenants: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Record:
    """How the record of actions tells of an erasure."""

    actor: str
    target: str
    reason: str


@dataclass(slots=True)
class Tally:
    """What was found and changed; ``tenants`` are those whose it was."""

    found: int = 0
    events: int = 0
    deliveries: int = 0
    attempts: int = 0
    tenants: set[str] = field(default_factory=set[str])

    def add(self, row: Any) -> None:
        self.found += row["found"]
        self.events += row["events"]
        self.deliveries += row["deliveries"]
        self.attempts += row["attempts"]
        self.tenants.update(row["tenants"])


class ErasureStore:
    """Surveys and erases."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements = database, statements

    async def survey(self, aggregate: Aggregate) -> Tally:
        """What there is to erase; changes nothing."""
        return await self._through(aggregate, _SURVEY, None)

    async def erase(self, aggregate: Aggregate, record: Record) -> Tally:
        """Erase, page by page; what is done stays done if a later page fails, and is passed over the next time."""
        return await self._through(aggregate, _ERASE, record)

    async def _through(self, aggregate: Aggregate, passes: Sequence[Sequence[str]], record: Record | None) -> Tally:
        tally = Tally()
        for statement, *texts in passes:
            reached, full = 0, True
            while full:
                with explained():
                    row = await self._page(statement, texts, aggregate, reached, record)
                tally.add(row)
                reached, full = row["reached"], row["found"] >= PAGE
        return tally

    async def _page(
        self, statement: str, texts: Sequence[str], aggregate: Aggregate, reached: int, record: Record | None
    ) -> Any:
        async with self._database.acquire() as connection, self._database.steered(connection):
            # Whoever was told that it is gone must find it gone after a crash of the server. How many events a page has
            # decides by which index they are found: the planner has to know.
            await connection.execute("SET LOCAL synchronous_commit = on; SET LOCAL plan_cache_mode = force_custom_plan")
            [row] = await connection.fetch(
                self._statements[statement], aggregate.name, aggregate.id, aggregate.tenants, reached, PAGE, *texts,
            )  # fmt: skip
            if record is not None and row["found"]:
                done = {name: row[name] for name in ("events", "deliveries", "attempts")}
                await connection.execute(
                    self._statements["record_action"], new_id(), "erase", record.actor, record.target,
                    json.dumps({"reason": record.reason, **done}), row["tenants"],
                )  # fmt: skip
        return row
