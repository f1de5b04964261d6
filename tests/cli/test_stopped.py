"""What is paused or only fails is said where people look for events that do not arrive, with the mend."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.cli.bakery import APP, fill
from tests.cli.conftest import Run
from tests.cli.test_doctor import findings, made, told
from tests.dashboard.seeding import Seeding


async def test_what_is_paused_or_only_fails(connection: Any, clean_database: str) -> None:
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    await seeding.handler("bakery.bake", "bakery.order.placed")
    await seeding.handler("bakery.note", "bakery.order.*")
    await seeding.process()
    await seeding.settle_all()
    event = await seeding.event("bakery.order.placed", {}, aggregate_id="1")
    await seeding.delivery(event, "bakery.bake", "waiting", "paused")
    events = made(clean_database)
    async with events.connect() as operators:
        await operators.operations.pause(handler="bakery.bake", actor="ann")
        await operators.operations.pause(lane="change", actor="ann")
    bake = seeding.seeded.handlers["bakery.bake"]
    await connection.execute("INSERT INTO events.breaker (handler_id, opened_at) VALUES ($1, now())", bake)
    found = await findings(events)
    told(found["paused"], "warn", "Paused lanes, of which nothing is read: change (1 pending).", "lanes resume change;")
    told(
        found["paused"],
        "warn",
        "are not called: bakery.bake (1 waiting).",
        "fastapi-events handlers resume bakery.bake.",
    )
    told(found["breakers"], "warn", "only failed: bakery.bake (1 waiting).", "handlers reset-breaker bakery.bake.")
    async with events.connect() as operators:
        await operators.operations.resume(actor="ann")
        await operators.operations.resume(handler="bakery.bake", actor="ann")
        await operators.operations.reset_breaker("bakery.bake", actor="ann")
    found = await findings(events)
    assert [found[name].status for name in ("paused", "breakers")] == ["ok", "ok"]


async def test_a_version_that_nobody_reads_is_not_taken_for_a_handler_that_nobody_has(
    connection: Any, clean_database: str
) -> None:
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    await seeding.handler("bakery.bake", "bakery.order.placed")
    await seeding.process()
    event = await seeding.event("bakery.order.placed", {}, aggregate_id="1")
    await seeding.delivery(event, "bakery.bake", "waiting", "no_handler")
    found = (await findings(made(clean_database)))["no_handler deliveries"]
    told(
        found, "warn", "another release: bakery.bake (1 waiting), some of a newer version of the event", "release that"
    )
    assert "has the handler" not in f"{found.message} {found.mend}"
    await seeding.handler("bakery.gone", "bakery.order.placed")
    await seeding.delivery(event, "bakery.gone", "waiting", "no_handler")
    found = (await findings(made(clean_database)))["no_handler deliveries"]
    told(found, "warn", "a process that has bakery.gone (1 waiting). Waiting for another release: bakery.bake", "")
    told(
        found,
        "warn",
        "",
        "Start a process that has the handler, or the job with the trigger: it takes them. Start a process",
    )


async def test_a_paused_lane_is_told_where_handlers_are_listed(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection, live=True)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    assert (await run("lanes", "pause", "outbound", **given)).status == 0
    people, script = await asyncio.gather(run("handlers", "list", **given), run("handlers", "list", "--json", **given))
    assert "The lane outbound is paused, nothing of it is read." in people.output
    assert "fastapi-events lanes resume outbound" in people.output
    assert json.loads(script.output)["paused_lanes"] == ["outbound"]
    await run("lanes", "resume", "outbound", **given)
    assert "is paused" not in (await run("handlers", "list", **given)).output
