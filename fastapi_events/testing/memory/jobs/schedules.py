"""Schedules in memory: where each is, and the runs of its ticks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.model.identity import new_id
from fastapi_events.model.run_start import RunStart
from fastapi_events.store.job_schedules import JobScheduleStore, ScheduleRow, Tick, Ticked, next_tick
from fastapi_events.store.renames import former_names, rows_of, rows_to_take
from fastapi_events.store.schedule_starts import kept_limits, refusals, start_beside, start_of_tick
from fastapi_events.testing.memory.held_back import lock, settle
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.starting import start_runs

Record = Callable[[str, str, str, Mapping[str, Any], Sequence[str]], None]
"""Notes who has done what: the action, its actor, its target, details, and whom it concerned."""


@dataclass(slots=True)
class KeptSchedule:
    """A schedule as it was declared last, and when its next tick is."""

    id: int
    name: str
    former_names: tuple[str, ...]
    row: ScheduleRow
    next_at: datetime
    paused: bool = False


class MemorySchedules(JobScheduleStore):
    """A ``JobScheduleStore`` without a database; there is one process, which has declared them all."""

    def __init__(self, runs: KeptRuns, kept: list[KeptSchedule], record: Record) -> None:
        self._all_runs, self._kept, self._record_action = runs, kept, record

    async def register(
        self, group_id: int, rows: Iterable[ScheduleRow], worker: UUID, *, orphans: bool = False  # noqa: ARG002
    ) -> dict[str, int]:  # fmt: skip
        given = {row.name: row for row in rows}
        taken = rows_to_take({row.name: row.was for row in given.values()}, self._kept)
        for row in given.values():
            known, now = taken.get(row.name), self._all_runs.clock.now()
            if known is None:
                self._kept.append(KeptSchedule(len(self._kept) + 1, row.name, row.was, row, row.rule.first(now)))
                continue
            if known.row.rule != row.rule:
                known.next_at = row.rule.first(now)
            name, former = former_names(row.name, row.was, known)
            known.name, known.former_names, known.row = name, tuple(former), row
        return {name: known.id for name, known in rows_of(given, self._kept).items()}

    def next_tick(self, ids: Sequence[int]) -> float | None:
        """Seconds until the next tick of these; None if there is none."""
        now = self._all_runs.clock.now()
        waits = [(one.next_at - now).total_seconds() for one in self._kept if one.id in ids and not one.paused]
        return min(waits, default=None)

    async def read(self, ids: Sequence[int]) -> list[Any]:
        now = self._all_runs.clock.now()
        return [_row(one, now) for one in self._kept if one.id in ids]

    async def tick(self, ticks: Sequence[Tick]) -> tuple[dict[int, Ticked], set[int]]:
        with lock:
            settle()
            return {tick.id: self._tick_of(one, tick) for tick in ticks for one in self._moved(tick)}, set()

    def _moved(self, tick: Tick) -> list[KeptSchedule]:
        return [one for one in self._kept if one.id == tick.id and not one.paused and one.next_at == tick.tick]

    def _tick_of(self, one: KeptSchedule, tick: Tick) -> Ticked:
        one.next_at = tick.following
        starts = [start_of_tick(_given(one), moment) for moment in tick.runs]
        existing = start_runs(self._all_runs, starts) if starts else []
        begun = [start for start, there in zip(starts, existing, strict=True) if not there]
        return Ticked(len(begun), refusals(starts), {start.place for start in begun})

    async def touch(self, ids: Sequence[int]) -> None:
        """Whoever asks is the process that has them."""

    async def names(self, group_id: int) -> list[str]:  # noqa: ARG002 - there is one
        return sorted(one.name for one in self._kept)

    async def pause(self, group_id: int, name: str, **record: Any) -> bool | None:  # noqa: ARG002
        one = self._named(name)
        if one is None:
            return None
        changes, one.paused = not one.paused, True
        self._note_action(record)
        return changes

    async def resume(self, group_id: int, name: str, **record: Any) -> bool | None:  # noqa: ARG002
        one = self._named(name)
        if one is None:
            return None
        changes = one.paused
        if changes:
            one.paused, one.next_at = False, next_tick(one.row.rule, one.next_at, self._all_runs.clock.now())
        self._note_action(record)
        return changes

    async def run(self, group_id: int, name: str, **record: Any) -> RunStart | None:  # noqa: ARG002
        one = self._named(name)
        if one is None:
            return None
        start = start_beside(_given(one), new_id(), record["actor"])
        start_runs(self._all_runs, [start])
        existing = {"existing": True} if start.is_duplicate else {}
        self._note_action(record | {"details": {**record["details"], "run": str(start.standing), **existing}})
        return start

    def _named(self, name: str) -> KeptSchedule | None:
        return next((one for one in self._kept if one.name == name), None)

    def _note_action(self, record: Mapping[str, Any]) -> None:
        self._record_action(record["action"], record["actor"], record["target"], record["details"], ())


def _given(one: KeptSchedule) -> dict[str, Any]:
    """What its runs are given."""
    row, kept = one.row, kept_limits(one.row.limits)
    scope, scope_id = row.scope or (None, None)
    return {
        "id": one.id, "name": one.name, "job_id": row.job_id, "priority": row.priority, "scope": scope,
        "scope_id": scope_id, "input": row.input, "limits": None if kept is None else json.dumps(kept),
    }  # fmt: skip


def _row(one: KeptSchedule, now: datetime) -> dict[str, Any]:
    return {
        "id": one.id, "name": one.name, "spec": one.row.rule.spec, "tz": one.row.rule.tz, "missed": one.row.missed,
        "next_at": one.next_at, "moment": now, "limited": one.row.limits is not None,
        "seconds": None if one.paused else (one.next_at - now).total_seconds(), "orphaned": False,
    }  # fmt: skip
