"""``handlers``: who is there, and retiring who has gone."""

from __future__ import annotations

import asyncio
import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bakery import APP, LISTENING, fill
from tests.cli.conftest import Run
from tests.dashboard.seeding import Seeding


async def test_handlers_are_listed_as_the_database_and_the_code_know_them(
    run: Run, project: Path, connection: Any, clean_database: str
) -> None:
    await fill(connection, live=True)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    people, script = await asyncio.gather(
        run("handlers", "list", **given), run("handlers", "list", "--json", "--limit", "2", **given)
    )
    told = json.loads(script.output)
    bake, note = told["handlers"]
    assert told["broadcasts"] == []
    assert "Broadcast" not in people.output
    assert (bake["name"], bake["status"], bake["processes"], bake["dead"]) == ("bakery.bake", "live", 1, 4)
    assert bake["where"].startswith(f"{project}/bakery/events.py:")
    assert (note["on_dead"], note["ordered"], note["lag"]) == ("continue", False, None)
    assert "Group app: nothing is pending." in people.output
    assert "In this code, and not registered by any process yet: bakery.by_name, bakery.eat." in people.output
    assert next(line for line in people.output.splitlines() if line.startswith("bakery.gone")).endswith("  -")


async def test_broadcast_handlers_are_listed_apart(
    run: Run, project: Path, connection: Any, clean_database: str
) -> None:
    await fill(connection, live=True)
    live = [
        {"name": "auth.count", "selects": "auth.login.failed", "audit": False},
        {"name": "auth.old", "selects": "auth.*", "audit": False},
    ]
    await connection.execute("UPDATE events.worker SET broadcasts = $1", json.dumps(live))
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": LISTENING}
    people, script = await asyncio.gather(run("handlers", "list", **given), run("handlers", "list", "--json", **given))
    told = json.loads(script.output)
    assert [handler["name"] for handler in told["handlers"]] == ["bakery.bake", "bakery.note", "bakery.gone"]
    assert [(b["name"], b["processes"], b["audit"], bool(b["where"])) for b in told["broadcasts"]] == [
        ("auth.cache", 0, False, True), ("auth.count", 1, False, True), ("auth.old", 1, False, False),
        ("auth.watch", 0, True, True),
    ]  # fmt: skip
    assert told["broadcasts"][1]["where"].startswith(f"{project}/listening.py:")
    assert "In this code, and not registered by any process yet: auth.mail, auth.project." in people.output
    lines = people.output.splitlines()
    apart = lines.index("Broadcast handlers, called in every live process that has them")
    assert [line.split()[:3] for line in lines[apart + 2 :]] == [
        ["auth.cache", "0", "auth.*"], ["auth.count", "1", "auth.login.failed"], ["auth.old", "1", "auth.*"],
        ["auth.watch", "0", "auth.*"],
    ]  # fmt: skip


@pytest.mark.parametrize("act", ["pause", "resume", "reset-breaker", "retire"])
async def test_what_cannot_be_done_to_a_broadcast_handler_is_refused_as_that(
    run: Run, connection: Any, clean_database: str, act: str
) -> None:
    await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": LISTENING}
    done = await run("handlers", act, "auth.count", *(["--yes"] if act == "retire" else []), **given)
    assert done.status == 1
    assert "'auth.count' is a broadcast handler: every process calls it" in done.errors
    assert "Did you mean" not in done.errors
    assert await connection.fetchval("SELECT count(*) FROM events.operator_action") == 0


async def test_what_a_broadcast_handler_was_before_is_retired(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection)
    await connection.execute("UPDATE events.handler SET name = 'auth.count' WHERE name = 'bakery.gone'")
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": LISTENING}
    done = [await run("handlers", *act, "auth.count", **given) for act in (["pause"], ["resume"], ["retire", "--yes"])]
    assert [one.status for one in done] == [0, 0, 0]


async def test_a_handler_is_retired_once_and_recorded(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    unknown, silent = await asyncio.gather(
        run("handlers", "retire", "bakery.nosuch", "--yes", **given), run("handlers", "retire", "bakery.gone", **given)
    )
    assert (unknown.status, silent.status) == (1, 2)
    assert "The group 'app' has no handler 'bakery.nosuch'" in unknown.errors
    assert await connection.fetchval("SELECT count(*) FROM events.handler WHERE retired_at IS NOT NULL") == 0
    done = await run("handlers", "retire", "bakery.gone", "--yes", "--reason", "no pages any more", **given)
    assert done.output.startswith("bakery.gone is retired;")
    again = await run("handlers", "retire", "bakery.gone", "--yes", **given)
    assert again.status == 0
    assert "nothing was changed" in again.output
    row = await connection.fetchrow("SELECT action, actor, target, details FROM events.operator_action")
    assert (row["action"], row["actor"], row["target"]) == ("retire", f"cli:{getpass.getuser()}", "bakery.gone")
    assert json.loads(row["details"]) == {"reason": "no pages any more", "live_processes": 0}


async def test_a_handler_that_runs_is_retired_by_force_alone(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection, live=True)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    refused = await run("handlers", "retire", "bakery.bake", "--yes", **given)
    assert refused.status == 1
    assert "1 live process of the group 'app' runs 'bakery.bake'" in refused.errors
    assert await connection.fetchval("SELECT count(*) FROM events.operator_action") == 0
    forced = await run("handlers", "retire", "bakery.bake", "--yes", "--force", **given)
    assert "take it into use again when they start" in forced.output
    assert await connection.fetchval("SELECT retired_at FROM events.handler WHERE name = 'bakery.bake'")


async def test_what_waits_for_a_retired_handler_is_given_up_if_that_is_wished(
    run: Run, connection: Any, clean_database: str
) -> None:
    await fill(connection)
    seeding = await Seeding.on(connection)
    seeding.seeded.group = await connection.fetchval("SELECT id FROM events.consumer_group")
    gone = await connection.fetchval("SELECT id FROM events.handler WHERE name = 'bakery.gone'")
    seeding.seeded.handlers["bakery.gone"] = gone
    for number in range(3):
        event = await seeding.event("bakery.page.seen", {}, aggregate_id=str(number))
        await seeding.delivery(event, "bakery.gone", "waiting", "no_handler")
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    silent = await run("handlers", "retire", "bakery.gone", "--discard-waiting", "--yes", **given)
    assert silent.status == 2
    assert "needs a reason" in silent.errors
    wish = ("--discard-waiting", "--reason", "no pages any more", "--yes", "--json")
    done = await run("handlers", "retire", "bakery.gone", *wish, **given)
    assert json.loads(done.output)["discarded"] == 3
    states = await connection.fetch("SELECT DISTINCT state, note FROM events.delivery WHERE handler_id = $1", gone)
    assert [tuple(row) for row in states] == [("discarded", "no pages any more")]
    assert (
        await connection.fetchval("SELECT count(*) FROM events.parked_key WHERE handler_id = $1 AND blocked", gone) == 0
    )
    acts = await connection.fetch("SELECT action, target FROM events.operator_action ORDER BY acted_at")
    assert [tuple(row) for row in acts] == [("retire", "bakery.gone"), ("discard", "handler:bakery.gone")]


async def test_handlers_and_lanes_are_paused_and_breakers_closed(
    run: Run, connection: Any, clean_database: str
) -> None:
    await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    await connection.execute(
        "INSERT INTO events.breaker (handler_id, opened_at, probe_at) "
        "SELECT id, clock_timestamp(), clock_timestamp() FROM events.handler WHERE name = 'bakery.bake'"
    )
    done = [
        await run("handlers", "pause", "bakery.bake", "--reason", "a look", **given),
        await run("handlers", "pause", "bakery.bake", **given),
        await run("lanes", "pause", "outbound", "--json", **given),
    ]
    assert [one.status for one in done] == [0, 0, 0]
    assert "bakery.bake of the group app: paused." in done[0].output
    assert "nothing was changed, it was paused already" in done[1].output
    assert json.loads(done[2].output) == {"act": "pause", "target": "lane outbound", "changed": True}
    listed = await run("handlers", "list", **given)
    assert "breaker open, paused" in listed.output
    again = [
        await run("handlers", "resume", "bakery.bake", **given),
        await run("handlers", "reset-breaker", "bakery.bake", **given),
        await run("lanes", "resume", **given),
    ]
    assert [one.status for one in again] == [0, 0, 0]
    assert await connection.fetchval("SELECT count(*) FROM events.handler WHERE paused_at IS NOT NULL") == 0
    assert await connection.fetchval("SELECT opened_at IS NULL FROM events.breaker")
    assert await connection.fetchval("SELECT paused_lanes FROM events.consumer_group WHERE name = 'app'") == []
    actors = await connection.fetch("SELECT DISTINCT actor FROM events.operator_action")
    assert [row["actor"] for row in actors] == [f"cli:{getpass.getuser()}"]
    wrong = await run("lanes", "pause", "outward", **given)
    assert (wrong.status, "is no lane. The lanes are inbound, change, outbound" in wrong.errors) == (1, True)
