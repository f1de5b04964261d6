"""Starting runs, on whatever connection the caller's transaction lives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy
from sqlalchemy import TextClause

from fastapi_events.model.run_start import RunStart
from fastapi_events.store.clauses import clause
from fastapi_events.store.statements import Statements


class Connection(Protocol):
    """What starting needs of an asyncpg connection."""

    async def execute(self, query: str, *args: Any) -> Any: ...


class RunLog:
    """The statements that start runs, for asyncpg and for any driver of SQLAlchemy; nothing here commits."""

    def __init__(self, statements: Statements) -> None:
        self._plain, self._any = statements["jobs/start_plain_runs"], statements["jobs/start_runs"]

    async def start(self, connection: Connection, starts: Sequence[RunStart]) -> None:
        """Start on an asyncpg connection, in one statement."""
        if all(start.is_plain for start in starts):
            await connection.execute(self._plain, *_columns(starts))
        else:
            await connection.execute(self._any, _rows_of(starts))

    def start_through(self, connection: sqlalchemy.Connection, starts: Sequence[RunStart]) -> None:
        """The same through SQLAlchemy, with any driver of PostgreSQL."""
        connection.execute(self._clause, {"rows": _rows_of(starts)})

    @cached_property
    def _clause(self) -> TextClause:
        return clause(self._any, "rows")


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
