"""Planted defects: the product without one of its guards. Switched on in a worker of the harness alone."""

from __future__ import annotations

import asyncio
import os
import re
import traceback
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from fastapi_events.engine.holding import Holding
from fastapi_events.engine.jobs import leases
from fastapi_events.engine.jobs.steps import Steps
from fastapi_events.model import triggered
from fastapi_events.store import schedule_starts
from fastapi_events.store.marks import MarkStore
from fastapi_events.store.statements import Statements
from fastapi_events.store.steps import StepRecord
from tests.chaos.options import Twin

# The next place is appended whoever owns the partition now; a parked key is given back whatever its token.
_NEWEST = """(SELECT max(c.seq) + 1 FROM {schema}.cursor_log c
              WHERE c.group_id = $1 AND c.lane = $2 AND c.partition = s.partition)"""
_MINE = [
    (r"AND q\.worker_id = \$1", "AND $1::uuid IS NOT NULL"),
    (r"\(\(q\.run_id, q\.token\) IN \(SELECT (.)\.run_id, .\.token FROM", r"(q.run_id IN (SELECT \1.run_id FROM"),
]
_BY_TOKEN = (r"\(\(g\.run_id, g\.token\) IN \(SELECT e\.run_id, e\.token FROM", "(g.run_id IN (SELECT e.run_id FROM")
_WAITING = (r"AND q\.token = g\.token AND q\.worker_id = \$1", "AND $1::uuid IS NOT NULL")
_MINE_AS_TEXT = r"AND q\.token = \$2::text::bigint AND q\.worker_id = \$3::text::uuid"
_ANYONES_AS_TEXT = "AND $2::text IS NOT NULL AND $3::text IS NOT NULL"
_MINE_ALONE = r"AND q\.token = \$2 AND q\.worker_id = \$3"
_ANYONES_ALONE = "AND $2::bigint IS NOT NULL AND $3::uuid IS NOT NULL"
_ALTERED: dict[Twin, dict[str, list[tuple[str, str]]]] = {
    "fencing": {
        "settle_batch": [(r"s\.seq \+ 1", _NEWEST), (r"CROSS JOIN LATERAL \(\s*SELECT 1 FROM.*?LIMIT 1\) mine", "")],
        "settle_key": [(r"AND token = \$3", "AND $3::bigint IS NOT NULL")],
    },
    # Whoever has ever had a run may write about it.
    "zombies": {
        "jobs/record_step": [(_MINE_AS_TEXT, _ANYONES_AS_TEXT)],
        "jobs/complete_own_run": [(_MINE_AS_TEXT, _ANYONES_AS_TEXT)],
        "jobs/spawn_step": [(_MINE_ALONE, _ANYONES_ALONE)],
        "jobs/lock_own_run": [(_MINE_ALONE, _ANYONES_ALONE)],
        "jobs/complete_runs": [*_MINE, _BY_TOKEN],
        "jobs/settle_runs": [*_MINE, _BY_TOKEN, _WAITING],
        "jobs/renew_runs": _MINE,
    },
    # A tick is what a process has read, whoever has been there since.
    "ticks": {
        "schedules/tick_schedules": [
            (r"AND s\.next_at = g\.tick AND s\.next_at <= clock_timestamp\(\)", ""),
        ],
    },
    # A gate that lets one too many through.
    "limits": {"jobs/admit_runs": [(r"coalesce\(j\.slots - \(", "coalesce(j.slots + 1 - (")]},
}


class CannotPlant(Exception):
    """The guard that a twin removes is not where it was: the twin must be brought up to date."""


def check(twin: Twin) -> None:
    """Raise ``CannotPlant`` if the twin cannot be had: it is planted in a child, where it does no harm."""
    pid = os.fork()
    if pid == 0:
        try:
            plant(twin)
        except BaseException:  # noqa: BLE001 - the parent says it again
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise CannotPlant(f"twin {twin!r} must be brought up to date: see above")


def plant(twin: Twin) -> None:
    """Remove a guard from this process."""
    if twin in _ALTERED:
        _alter(_ALTERED[twin])
    if twin in _PLANTS:
        _PLANTS[twin]()


def _alter(statements: dict[str, list[tuple[str, str]]]) -> None:
    original = Statements.__getitem__
    for name, changes in statements.items():
        _changed(name, changes, original(Statements(), name))

    def altered(self: Statements, name: str) -> str:
        text = original(self, name)
        return _changed(name, statements[name], text).replace("{schema}", self.schema) if name in statements else text

    Statements.__getitem__ = altered  # type: ignore[method-assign]


def _changed(name: str, changes: list[tuple[str, str]], text: str) -> str:
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
        if not count:
            raise CannotPlant(f"{name}.sql has no {pattern!r} to remove")
    return text


def _remove_mark() -> None:
    for name in ("take", "take_sync", "literal_take"):
        if not hasattr(MarkStore, name):
            raise CannotPlant(f"MarkStore.{name} is gone")

    async def take(*_: Any) -> bool:
        return True

    def take_sync(*_: Any) -> bool:
        return True

    def literal_take(*_: Any) -> str:
        return "SELECT 1"

    for replacement in (take, take_sync, literal_take):
        setattr(MarkStore, replacement.__name__, replacement)


def _remember_too_much() -> None:
    if not hasattr(Holding, "forget_outlived"):
        raise CannotPlant("Holding.forget_outlived is gone")
    Holding.forget_outlived = lambda *_: None  # type: ignore[method-assign]


def _record_apart() -> None:
    """A step's result is recorded beside the transaction of its effects, not with it."""
    original = Steps._record

    async def record(self: Steps, step: StepRecord, execute: Any = None) -> Any:
        return await original(self, step)

    Steps._record = record  # type: ignore[method-assign]


def _draw_ids() -> None:
    """The run of an event and a trigger has any id, so that nobody knows whether it is there."""
    if not hasattr(triggered, "triggered_run_id"):
        raise CannotPlant("model.triggered.triggered_run_id is gone")
    triggered.triggered_run_id = lambda *_: uuid4()


def _draw_ids_of_ticks() -> None:
    """The run of a tick has any id, so that nobody knows whether it is there."""
    if not hasattr(schedule_starts, "scheduled_run_id"):
        raise CannotPlant("store.schedule_starts.scheduled_run_id is gone")
    schedule_starts.scheduled_run_id = lambda *_: uuid4()


def _deafen() -> None:
    """A cancellation is found with the next renewal, by nobody's word."""
    if not hasattr(leases, "wait_for_flag"):
        raise CannotPlant("engine.jobs.leases.wait_for_flag is gone")

    async def wait(_: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)

    leases.wait_for_flag = wait  # type: ignore[assignment]


_PLANTS: dict[Twin, Callable[[], None]] = {
    "mark": _remove_mark, "crash": _remember_too_much, "jobs": _record_apart, "bridge": _draw_ids, "cancels": _deafen,
    "ticks": _draw_ids_of_ticks,
}  # fmt: skip
