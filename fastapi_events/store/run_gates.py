"""The gates at which limited runs wait: opening them, and the net beneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements

TURNS_AT_ONCE = 500
"""Turns of a job that one statement takes, at most."""
LOOKED_AT_ONCE = 1000
"""Gates, and keys, that one statement of the net looks at."""


class GateRule(NamedTuple):
    """What a job's gates let through: ``slots`` of one key at a time, and one in ``spacing`` seconds, so many within
    ``span``. None: any number, and at any rate."""

    job_id: int
    slots: int | None = None
    spacing: float | None = None
    span: float | None = None


class Opened(NamedTuple):
    """What has come of opening gates. ``more``: the same again finds more to do. ``seconds``: until the next turn."""

    ready: int = 0
    more: bool = False
    seconds: float | None = None
    left_alone: bool = False
    """Whether another process was at a gate, so that its turn is still to come."""


class RunGates:
    """The statements."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._admit, self._call = statements["jobs/admit_runs"], statements["jobs/call_gates"]
        self._prune = (statements["jobs/prune_limits"], statements["jobs/prune_dedupe_keys"])

    async def open(self, rules: Sequence[GateRule], room: int) -> Opened:
        """Make runs ready whose turn it is; of a rate's key no more than ``room``."""
        columns = [list(column) for column in zip(*rules, strict=True)]
        [row] = await self._database.fetch(self._admit, *columns, TURNS_AT_ONCE, room)
        return Opened(row["ready"], row["more"], row["seconds"], row["left_alone"])

    async def call(self, rule: GateRule) -> int:
        """Give those gates of a job a turn that have lost theirs; returns how many did."""
        called, gate = 0, ""
        while rows := await self._database.fetch(self._call, *rule, gate, LOOKED_AT_ONCE):
            called += rows[0]["called"]
            gate = rows[0]["gate"]
            if rows[0]["number"] < LOOKED_AT_ONCE:
                break
        return called

    async def prune(self) -> None:
        """Remove what stands for nothing any more."""
        for statement in self._prune:
            await self._walk(statement)

    async def _walk(self, statement: str) -> None:
        """Carry out a statement again and again, each time behind where it ended."""
        job_id, gate = 0, ""
        while rows := await self._database.fetch(statement, job_id, gate, LOOKED_AT_ONCE):
            job_id, gate = rows[0]["job_id"], rows[0]["gate"]
            if rows[0]["number"] < LOOKED_AT_ONCE:
                break
