"""Starting runs, on whatever connection the caller's transaction lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy
from sqlalchemy import TextClause

from fastapi_events.errors import RunConflict
from fastapi_events.model.run_start import RunStart
from fastapi_events.store import limited_starts
from fastapi_events.store.clauses import clause
from fastapi_events.store.statements import Statements

_START_LIMITED = "start_limited_runs"


class Connection(Protocol):
    """What starting needs of an asyncpg connection."""

    async def execute(self, query: str, *args: Any) -> Any: ...

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...


Ask = Callable[[str, str], Sequence[Any]]
"""Answers a statement, by its name and with its parameter."""


class RunLog:
    """The statements that start runs, for asyncpg and for any driver of SQLAlchemy; nothing here commits."""

    def __init__(self, statements: Statements) -> None:
        self._plain, self._any = statements["jobs/start_plain_runs"], statements["jobs/start_runs"]
        self._limited = {name: statements[f"jobs/{name}"] for name in (*limited_starts.NAMES, _START_LIMITED)}

    async def start(self, connection: Connection, starts: Sequence[RunStart]) -> list[bool]:
        """Start on an asyncpg connection, in one statement; what is limited before, with what it has to ask.

        Says of each whether it was there already, or another run stands for it. Raises ``JobCollisionError`` before any
        run is started, and ``RunConflict`` for a given id that is there.
        """
        if all(start.is_plain for start in starts):
            await connection.execute(self._plain, *_columns(starts))
            return [False] * len(starts)
        limited, others = _apart(starts)
        if limited:
            await carried_out(_started(limited), connection, self._limited)
        begun = [row["id"] for row in await connection.fetch(self._any, _rows_of(others))] if others else []
        return _answers(starts, others, begun)

    def start_through(self, connection: sqlalchemy.Connection, starts: Sequence[RunStart]) -> list[bool]:
        """The same through SQLAlchemy, with any driver of PostgreSQL."""
        if all(start.is_plain for start in starts):
            connection.execute(self._plain_clause, dict(zip(_PLAIN_COLUMNS, _columns(starts), strict=True)))
            return [False] * len(starts)
        return started_by(
            starts, lambda name, rows: connection.execute(self._clauses[name], {"rows": rows}).mappings().all()
        )

    @cached_property
    def _plain_clause(self) -> TextClause:
        return clause(self._plain, *_PLAIN_COLUMNS)

    @cached_property
    def _clauses(self) -> dict[str, TextClause]:
        return {name: clause(text, "rows") for name, text in (*self._limited.items(), ("start_runs", self._any))}


async def carried_out(
    asking: limited_starts.Asking, connection: Connection, statements: Mapping[str, str]
) -> None:  # fmt: skip
    """Carry out statements that decide of starts, on an asyncpg connection."""
    rows = None
    with suppress(StopIteration):
        while True:
            name, parameter = next(asking) if rows is None else asking.send(rows)
            rows = await connection.fetch(statements[name], parameter)


def answered(asking: limited_starts.Asking, ask: Ask) -> None:
    """Have them answered by ``ask``."""
    rows = None
    with suppress(StopIteration):
        while True:
            name, parameter = next(asking) if rows is None else asking.send(rows)
            rows = ask(name, parameter)


def started_by(starts: Sequence[RunStart], ask: Ask) -> list[bool]:
    """Start runs by statements that ``ask`` answers: as ``RunLog.start``."""
    limited, others = _apart(starts)
    if limited:
        answered(_started(limited), ask)
    begun: Sequence[Any] = ask("start_runs", _rows_of(others)) if others else ()
    return _answers(starts, others, [UUID(str(row["id"])) for row in begun])


def _apart(starts: Sequence[RunStart]) -> tuple[Sequence[RunStart], Sequence[RunStart]]:
    """Those that are limited, and the others."""
    limited = [start for start in starts if start.limits is not None]
    return limited, [start for start in starts if start.limits is None] if limited else starts


def _started(starts: Sequence[RunStart]) -> limited_starts.Asking:
    """The statements that start limited runs."""
    yield from limited_starts.decided(starts)
    fresh = list(limited_starts.left(starts))
    if fresh:
        rows = yield _START_LIMITED, _rows_of(fresh)
        yield from limited_starts.note_there([UUID(str(row["id"])) for row in rows], fresh)
        yield from limited_starts.surplus(fresh)


def _answers(starts: Sequence[RunStart], others: Sequence[RunStart], begun: Sequence[UUID]) -> list[bool]:
    """For all of them, from what has begun of those that are not limited."""
    there = iter(_existing(others, begun))
    return [next(there) if start.limits is None else start.is_duplicate for start in starts]


def _existing(starts: Sequence[RunStart], begun: Sequence[UUID]) -> list[bool]:
    """Which of the runs were there already; of two with one id, the second was."""
    left, flags = set(begun), list[bool]()
    for start in starts:
        flags.append(start.id not in left)
        left.discard(start.id)
        if flags[-1] and not start.is_derived:
            raise RunConflict(f"There is a run {start.id} already. Leave run_id= out.", run=start.id)
    return flags


_PLAIN_COLUMNS = ("ids", "jobs", "priorities", "correlation_ids", "inputs")


def _columns(starts: Sequence[RunStart]) -> tuple[list[Any], ...]:
    return (
        [start.id for start in starts],
        _one_or_each([start.job_id for start in starts]),
        _one_or_each([start.priority for start in starts]),
        [] if all(start.correlation_id is start.id for start in starts) else [start.correlation_id for start in starts],
        [start.input for start in starts],
    )


def _one_or_each(values: list[int]) -> list[int]:
    """The values, or the one that all of them are."""
    return values[:1] if values.count(values[0]) == len(values) else values


def _rows_of(starts: Sequence[RunStart]) -> str:
    """A JSON array of runs: the inputs' text goes in as it is."""
    return f"[{','.join(map(_row, starts))}]"


_APART = ("name", "input", "limits")


def _row(start: RunStart) -> str:
    given = zip(start._fields, start, strict=True)
    fields = {name: _plain_value(value) for name, value in given if value is not None and name not in _APART}
    limits = "" if start.limits is None else f',"limits":{start.limits.stored()}'
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]}{limits},"input":{start.input}}}'


def _plain_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
