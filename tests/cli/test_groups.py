"""``groups`` and the doctor: who keeps the log from shrinking, and ending it."""

from __future__ import annotations

import asyncio
import getpass
import json
from typing import Any

from tests.cli.bakery import APP
from tests.cli.conftest import Run
from tests.dashboard.seeding import Seeding


async def left(connection: Any) -> None:
    """The group of the application, which has read everything; and one that stopped forty days ago."""
    old = await Seeding.on(connection)
    await old.group("billing")
    await old.handler("billing.bill", "bakery.order.*")
    await old.settle_all()
    await old.event("bakery.order.placed", {"order": 1})
    own = await Seeding.on(connection)
    await own.group("app")
    await own.handler("bakery.bake", "bakery.order.placed")
    await own.process()
    await own.settle_all()
    await connection.execute("UPDATE events.event SET published_at = now() - interval '40 days'")


async def test_a_group_that_keeps_the_log_is_shown_and_removed(run: Run, connection: Any, clean_database: str) -> None:
    await left(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    people, script, doctor = await asyncio.gather(
        run("groups", "list", **given), run("groups", "list", "--json", **given), run("doctor", "--json", **given)
    )
    app, billing = json.loads(script.output)
    assert (app["name"], app["handlers"], app["processes"], app["kept_since"]) == ("app", 1, 1, None)
    assert (billing["name"], billing["handlers"], billing["processes"]) == ("billing", 1, 0)
    assert [line.split()[:5] for line in people.output.splitlines()][2] == ["billing", "1", "0", "-", "40d"]
    [finding] = [one for one in json.loads(doctor.output)["findings"] if one["name"] == "retention"]
    assert (finding["status"], "'billing' (event " in finding["message"]) == ("warn", True)
    assert "groups remove NAME" in finding["mend"]

    asked, unknown, alive = await asyncio.gather(
        run("groups", "remove", "billing", "--reason", "gone", **given),
        run("groups", "remove", "biling", "--reason", "gone", "--yes", **given),
        run("groups", "remove", "app", "--reason", "gone", "--yes", **given),
    )
    assert [asked.status, unknown.status, alive.status] == [2, 1, 1]
    assert "There is no consumer group 'biling'" in unknown.errors
    assert "has 1 live process" in alive.errors
    assert await connection.fetchval("SELECT count(*) FROM events.operator_action") == 0
    done = await run("groups", "remove", "billing", "--reason", "no bills any more", "--yes", **given)
    assert done.output.startswith("billing is removed.")
    row = await connection.fetchrow("SELECT action, actor, target, details FROM events.operator_action")
    assert (row["action"], row["actor"], row["target"]) == ("remove_group", f"cli:{getpass.getuser()}", "billing")
    assert json.loads(row["details"])["reason"] == "no bills any more"
    told = await run("db", "maintain", **given)
    assert "Removed 1 events, row by row." in told.output
    assert "is kept" not in told.output


async def test_a_replay_that_keeps_the_log_is_named(run: Run, connection: Any, clean_database: str) -> None:
    await left(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    done = await run("groups", "remove", "billing", "--reason", "no bills any more", "--yes", "--json", **given)
    assert json.loads(done.output) == {"group": "billing", "removed": True}
    started = await run("replay", "start", "bakery.bake", "--yes", "--json", **given)
    replay = json.loads(started.output)["id"]
    told, doctor = await asyncio.gather(run("db", "maintain", **given), run("doctor", "--json", **given))
    assert "Nothing was removed." in told.output
    assert f"The replay {replay} of 'bakery.bake', in the group 'app', has still to read" in told.output
    [finding] = [one for one in json.loads(doctor.output)["findings"] if one["name"] == "retention"]
    assert (finding["status"], f"the replay {replay} of 'bakery.bake'" in finding["message"]) == ("warn", True)
    assert "fastapi-events replay cancel ID" in finding["mend"]
