"""A group's schedules: registering them, and moving them on from tick to tick."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.model.identity import new_id, scheduled_run_id
from fastapi_events.model.job_schedule import RETIRED_AFTER
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.run_limits import RunLimits
from fastapi_events.model.run_start import RunStart
from fastapi_events.model.tick_rule import TickRule
from fastapi_events.store import limited_starts
from fastapi_events.store.database import Database
from fastapi_events.store.dead_letters import NO_TENANTS, explained
from fastapi_events.store.renames import former_names, rows_of, rows_to_take
from fastapi_events.store.schedule_starts import kept_limits, refusals, start_beside, start_of_tick
from fastapi_events.store.starts import RunLog
from fastapi_events.store.statements import Statements

LONGEST_LOCK = "100"
"""Milliseconds for which a tick waits for transactions of the application that start runs of its key; then it comes a
little later."""
_BUSY = "A transaction that starts a run of the same key has not ended. Nothing was started; try again."


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """What a process says of a schedule when it registers it; ``input`` is JSON text."""

    name: str
    was: tuple[str, ...]
    job_id: int
    rule: TickRule
    missed: str
    input: str
    priority: int
    scope: tuple[str, str] | None
    limits: RunLimits | None


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule of the group; ``orphaned``: the process that declared it last is there no more."""

    id: int
    name: str
    former_names: tuple[str, ...]
    rule: TickRule
    last_seen_at: datetime
    orphaned: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A schedule that is to be moved on from ``tick``, the next one that was read, with the ticks that start runs.

    ``limited``: the database is asked if they may be started.
    """

    id: int
    rule: TickRule
    tick: datetime
    following: datetime
    runs: Sequence[datetime]
    limited: bool = False


@dataclass(slots=True)
class Ticked:
    """What ticks of one schedule have started; ``refused``: why limits let none be started, ``places``: who is told."""

    started: int
    refused: list[str]
    places: set[LogPlace]


class JobScheduleStore:
    """Registers schedules, ticks, and does what operators ask for."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database, self._statements, self._runs = database, statements, RunLog(statements)

    async def register(
        self, group_id: int, rows: Iterable[ScheduleRow], worker: UUID, *, orphans: bool = False
    ) -> dict[str, int]:
        """Make schedules known, as this process declares them; returns the ids that the database has for them.

        A rule that is another one than before begins now; so does one that no process has had for long. With
        ``orphans`` only those are declared anew whose last declarer is gone.
        """
        given = {row.name: row for row in rows}
        if not given:
            return {}
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute("SET LOCAL lock_timeout = '10s'")  # many processes may start at the same moment
            await connection.execute(self._statements["lock_group"], group_id)
            moment = await connection.fetchval(self._statements["schedules/read_moment"])
            known = await self._known(connection, group_id)
            taken = rows_to_take({row.name: row.was for row in given.values()}, known)
            entries = [
                _entry(row, taken.get(row.name), moment)
                for row in given.values()
                if not orphans or (row.name in taken and taken[row.name].orphaned)
            ]
            if entries:
                await connection.execute(
                    self._statements["schedules/register_schedules"], group_id, json.dumps(entries), worker
                )
            found = rows_of(given, await self._known(connection, group_id))
        return {name: row.id for name, row in found.items()}

    async def read(self, ids: Sequence[int]) -> list[Any]:
        """Where schedules are: rules, next ticks, and the seconds until those."""
        return await self._database.fetch(self._statements["schedules/read_ticks"], ids)

    async def tick(self, ticks: Sequence[Tick]) -> tuple[dict[int, Ticked], set[int]]:
        """Move schedules on and start their runs; what became of those that nobody else has moved before.

        It is on disk when it returns: a tick that comes once is no bookkeeping that could be done again. Those whose
        runs are limited go one by one: a transaction of the application that starts such runs holds up no other, and
        for longer than a moment not this one. Returns those, too.
        """
        plain = [tick for tick in ticks if not tick.limited]
        moved = await self._tick(plain) if plain else {}
        busy = set[int]()
        for tick in ticks:
            if tick.limited:
                try:
                    moved.update(await self._tick([tick]))
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    busy.add(tick.id)
        return moved, busy

    async def _tick(self, ticks: Sequence[Tick]) -> dict[int, Ticked]:
        async with self._acting() as connection:
            if ticks[0].limited:
                await connection.execute(self._statements["jobs/wait_briefly"], LONGEST_LOCK)
            entries = json.dumps([_moved(tick) for tick in ticks])
            rows = {
                row["id"]: row for row in await connection.fetch(self._statements["schedules/tick_schedules"], entries)
            }
            starts = [start_of_tick(rows[tick.id], moment) for tick in ticks if tick.id in rows for moment in tick.runs]
            starts.sort(key=lambda start: (start.scheduled_for, start.schedule_id))
            existing = await self._runs.start(connection, starts) if starts else []
            found = {schedule: Ticked(0, [], set()) for schedule in rows}
            for start, there in zip(starts, existing, strict=True):
                ticked = found[start.schedule_id or 0]
                ticked.started += not there
                ticked.places.update(() if there else {start.place})
            await self._note(connection, starts, found)
        return found

    async def _note(self, connection: Any, starts: Sequence[RunStart], found: Mapping[int, Ticked]) -> None:
        """Keep what was refused; of the newest tick in the row of the schedule."""
        for schedule, newest in {start.schedule_id or 0: start for start in starts}.items():
            found[schedule].refused += refusals(one for one in starts if one.schedule_id == schedule)
            for why in refusals([newest]):
                await connection.execute(self._statements["schedules/note_tick"], schedule, newest.standing, why)

    async def touch(self, ids: Sequence[int]) -> None:
        """Note that a live process has these."""
        await self._database.fetch(self._statements["schedules/touch_schedules"], ids)

    async def names(self, group_id: int) -> list[str]:
        """The names of the group's schedules."""
        rows = await self._database.fetch(self._statements["schedules/list_schedule_names"], group_id)
        return [row["name"] for row in rows]

    async def pause(self, group_id: int, name: str, **record: Any) -> bool | None:
        """Pause a schedule; whether that changed anything, None if there is none of this name."""
        with explained():
            async with self._acting() as connection:
                row = await connection.fetchrow(self._statements["schedules/pause_schedule"], group_id, name)
                if row is not None:
                    await self._record(connection, **record)
        return None if row is None else row["changes"]

    async def resume(self, group_id: int, name: str, **record: Any) -> bool | None:
        """Let a schedule go on with its next tick from now; whether it was paused, None if there is none."""
        with explained():
            async with self._acting() as connection:
                row = await connection.fetchrow(self._statements["schedules/lock_schedule"], group_id, name)
                if row is None:
                    return None
                if row["paused_at"] is not None:
                    following = next_tick(TickRule(row["spec"], row["tz"]), row["next_at"], row["moment"])
                    await connection.execute(self._statements["schedules/resume_schedule"], row["id"], following)
                await self._record(connection, **record)
        return row["paused_at"] is not None

    async def run(self, group_id: int, name: str, **record: Any) -> RunStart | None:
        """Start one run of a schedule's, beside its ticks; None if there is no schedule of this name.

        By the dedupe key of its job another run may stand for it. Raises ``JobCollisionError``.
        """
        with explained(_BUSY):
            async with self._acting() as connection:
                row = await connection.fetchrow(self._statements["schedules/find_schedule"], group_id, name)
                if row is None:
                    return None
                start = start_beside(row, new_id(), record["actor"])
                await connection.execute(self._statements["jobs/wait_briefly"], limited_starts.BRIEFLY)
                await self._runs.start(connection, [start])
                existing = {"existing": True} if start.is_duplicate else {}
                record["details"] = {**record["details"], "run": str(start.standing), **existing}
                await self._record(connection, **record)
        return start

    @contextlib.asynccontextmanager
    async def _acting(self) -> AsyncGenerator[Any]:
        """A transaction that is on disk when it ends."""
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute(self._statements["keep_durably"])
            yield connection

    async def _record(
        self, connection: Any, *, action: str, actor: str, target: str, details: Mapping[str, Any]
    ) -> None:
        facts = json.dumps(details, default=str)
        await connection.execute(self._statements["record_action"], new_id(), action, actor, target, facts, NO_TENANTS)

    async def _known(self, connection: Any, group_id: int) -> list[KnownSchedule]:
        return [
            KnownSchedule(
                row["id"], row["name"], tuple(row["former_names"]), TickRule(row["spec"], row["tz"]),
                row["last_seen_at"], row["orphaned"],
            )
            for row in await connection.fetch(self._statements["schedules/list_schedules"], group_id)
        ]  # fmt: skip


def _entry(row: ScheduleRow, known: KnownSchedule | None, moment: datetime) -> dict[str, Any]:
    name, former = former_names(row.name, row.was, known) if known else (row.name, list(row.was))
    begins = known is None or known.rule != row.rule or known.last_seen_at < moment - timedelta(seconds=RETIRED_AFTER)
    scope, scope_id = row.scope or (None, None)
    return {
        "id": known.id if known else None, "name": name, "former_names": former, "job_id": row.job_id,
        "spec": row.rule.spec, "tz": row.rule.tz, "missed": row.missed, "input": json.loads(row.input),
        "priority": row.priority, "scope": scope, "scope_id": scope_id, "limits": kept_limits(row.limits),
        "next_at": row.rule.first(moment).isoformat() if begins else None,
    }  # fmt: skip


def _moved(tick: Tick) -> dict[str, Any]:
    return {
        "id": tick.id, "spec": tick.rule.spec, "tz": tick.rule.tz, "tick": tick.tick.isoformat(),
        "next_at": tick.following.isoformat(),
        "last_at": tick.runs[-1].isoformat() if tick.runs else None,
        "last_run": str(scheduled_run_id(tick.id, tick.runs[-1])) if tick.runs else None,
    }  # fmt: skip


def next_tick(rule: TickRule, tick: datetime, moment: datetime) -> datetime:
    """When a schedule ticks that is let go on at a moment."""
    return tick if tick > moment else rule.due(tick, moment, 1).following
