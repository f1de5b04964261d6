"""A schedule starts its job once for each tick, whoever is there, and says what became of those that were missed.

Ticks are moved by SQL on ``next_at``: nothing here waits for a time of day.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_events import Events, JobContext, Module
from fastapi_events.errors import OperationRefused
from tests.delivery.stage import SLOW, Stage, until, within

HOURLY = "0 * * * *"
DUE = "UPDATE events.schedule SET next_at = date_trunc('hour', clock_timestamp()) RETURNING next_at"
RUNS = "SELECT * FROM events.run ORDER BY number"


class Report(BaseModel):
    kind: str


def reporting(spec: str | timedelta = HOURLY, seen: list[Any] | None = None, **options: Any) -> Module:
    """A module with one schedule; what its runs are for is noted in ``seen``."""
    reports = Module("reports")

    @reports.every(spec, **options)
    async def nightly(job: JobContext[None]) -> None:
        if seen is not None:
            seen.append(job.run.scheduled_for)

    return reports


async def schedule(stage: Stage) -> Any:
    [row] = await stage.rows("SELECT *, clock_timestamp() AS now FROM events.schedule")
    return row


def look(events: Events) -> None:
    """Wake what asks for due runs and ticks."""
    events.runtime.wake.runs.due.set()


async def test_a_tick_starts_one_run_that_knows_it(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.running(reporting(seen=seen))
    before = await schedule(stage)
    assert before["next_at"] > before["now"]
    assert before["next_at"].minute == before["next_at"].second == 0
    tick = await stage.value(DUE)
    look(events)
    await until(lambda: seen)
    assert seen == [tick]
    [run] = await stage.rows(RUNS)
    assert (run["source"], run["source_ref"], run["scheduled_for"]) == ("schedule", "reports.nightly", tick)
    after = await schedule(stage)
    assert after["next_at"] == tick + timedelta(hours=1)
    assert (after["last_tick_at"], after["last_run_id"]) == (tick, run["id"])
