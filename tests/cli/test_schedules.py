"""``schedules``: how they stand, and what operators do to them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi_events import Events, EventsSettings, JobContext, Module
from tests.cli.conftest import Run

APP = "reporting:events"
FILE = """
from datetime import timedelta

from fastapi_events import Events, JobContext, Module

reports = Module("reports")


@reports.every("30 6 * * *", tz="Europe/Berlin")
async def nightly(job: JobContext[None]) -> None: ...


@reports.every("0 0 * * *")
async def changed(job: JobContext[None]) -> None: ...


@reports.every(timedelta(minutes=5))
async def new(job: JobContext[None]) -> None: ...


events = Events(modules=[reports])
"""


async def registered(url: str) -> None:
    """An instance of an older release has registered its schedules, and has ended."""
    reports = Module("reports")

    @reports.every("30 6 * * *", tz="Europe/Berlin")
    async def nightly(job: JobContext[None]) -> None:
        return None

    @reports.every("0 1 * * *")
    async def changed(job: JobContext[None]) -> None:
        return None

    events = Events([reports], settings=EventsSettings(database_url=url))
    await events.start(drains=False)
    await events.stop()


async def test_they_are_listed_as_the_database_and_the_code_know_them(
    run: Run, project: Path, connection: Any, clean_database: str
) -> None:
    (project / "reporting.py").write_text(FILE)
    await registered(clean_database)
    await connection.execute("UPDATE events.schedule SET last_note = 'rejected' WHERE name = 'reports.nightly'")
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    people, script = await asyncio.gather(
        run("schedules", "list", **given), run("schedules", "list", "--json", **given)
    )
    changed, nightly = json.loads(script.output)["schedules"]
    assert (nightly["name"], nightly["spec"], nightly["tz"]) == ("reports.nightly", "30 6 * * *", "Europe/Berlin")
    assert (nightly["status"], nightly["missed"], nightly["differs"]) == ("ticking", "once", False)
    assert nightly["where"].startswith(f"{project}/reporting.py:")
    assert (changed["spec"], changed["differs"]) == ("0 1 * * *", True)
    assert "30 6 * * * Europe/Berlin" in people.output
    assert "reports.nightly: its last tick has started no run: rejected." in people.output
    assert "ticking, other rule in this code" in people.output
    assert "In this code, and not registered by any process yet: reports.new." in people.output


async def test_they_are_paused_resumed_and_run(run: Run, project: Path, connection: Any, clean_database: str) -> None:
    (project / "reporting.py").write_text(FILE)
    await registered(clean_database)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    target = "reports.nightly"
    first = await run("schedules", "pause", target, "--reason", "stocktaking", "--actor", "ann", **given)
    again = await run("schedules", "pause", target, "--json", **given)
    assert first.output == "reports.nightly of the group app: paused.\n"
    assert json.loads(again.output) == {"act": "pause", "schedule": target, "changed": False, "run": None}
    assert "paused" in (await run("schedules", "list", **given)).output
    ran = await run("schedules", "run", target, "--json", **given)
    assert await connection.fetchval("SELECT id FROM events.run") == UUID(json.loads(ran.output)["run"])
    assert "the run " in (await run("schedules", "run", target, **given)).output
    assert (await run("schedules", "resume", target, **given)).output == "reports.nightly of the group app: resumed.\n"
    actions = await connection.fetch("SELECT action, actor, details FROM events.operator_action ORDER BY acted_at")
    assert [row["action"] for row in actions] == [
        "pause_schedule", "pause_schedule", "run_schedule", "run_schedule", "resume_schedule",
    ]  # fmt: skip
    assert actions[0]["actor"] == "ann"
    assert json.loads(actions[0]["details"]) == {"reason": "stocktaking"}


async def test_one_that_is_not_there_is_refused(run: Run, project: Path, clean_database: str) -> None:
    (project / "reporting.py").write_text(FILE)
    await registered(clean_database)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    done = await run("schedules", "pause", "reports.nihgtly", **given)
    assert done.status == 1
    assert "Did you mean 'reports.nightly'?" in done.errors
