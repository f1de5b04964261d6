"""Starting runs, on whatever connection the caller's transaction lives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy
from sqlalchemy import TextClause

from fastapi_events.errors import RunConflict
from fastapi_events.model.run_start import RunStart
from fastapi_events.store.clauses import clause
from fastapi_events.store.statements import Statements


class Connection(Protocol):
    """What starting needs of an asyncpg connection."""

    async def execute(self, query: str, *args: Any) -> Any: ...

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...


class RunLog:
    """The statements that start runs, for asyncpg and for any driver of SQLAlchemy; nothing here commits."""

    def __init__(self, statements: Statements) -> None:
        self._plain, self._any = statements["jobs/start_plain_runs"], statements["jobs/start_runs"]

    async def start(self, connection: Connection, starts: Sequence[RunStart]) -> list[bool]:
        """Start on an asyncpg connection, in one statement; says of each whether it was there already.

        Only a run of an event may be: it is left as it is. Raises ``RunConflict`` for others.
        """
        if all(start.is_plain for start in starts):
            await connection.execute(self._plain, *_columns(starts))
            return [False] * len(starts)
        return _existing(starts, [row["id"] for row in await connection.fetch(self._any, _rows_of(starts))])

    def start_through(self, connection: sqlalchemy.Connection, starts: Sequence[RunStart]) -> list[bool]:
        """The same through SQLAlchemy, with any driver of PostgreSQL."""
        begun = connection.execute(self._clause, {"rows": _rows_of(starts)}).scalars()
        return _existing(starts, [UUID(str(run_id)) for run_id in begun])

    @cached_property
    def _clause(self) -> TextClause:
        return clause(self._any, "rows")


def _existing(starts: Sequence[RunStart], begun: Sequence[UUID]) -> list[bool]:
    """Which of the runs were there already; of two with one id, the second was."""
    left, flags = set(begun), list[bool]()
    for start in starts:
        flags.append(start.id not in left)
        left.discard(start.id)
        if flags[-1] and start.event_id is None:
            raise RunConflict(f"There is a run {start.id} already. Leave run_id= out.", run=start.id)
    return flags


def _columns(starts: Sequence[RunStart]) -> tuple[list[Any], ...]:
    return (
        [start.id for start in starts],
        [start.job_id for start in starts],
        [start.priority for start in starts],
        [start.correlation_id for start in starts],
        [start.input for start in starts],
    )


def _rows_of(starts: Sequence[RunStart]) -> str:
    """A JSON array of runs: the inputs' text goes in as it is."""
    return f"[{','.join(map(_row, starts))}]"


def _row(start: RunStart) -> str:
    fields = {name: _plain_value(value) for name, value in start._asdict().items() if name not in ("name", "input")}
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]},"input":{start.input}}}'


def _plain_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
