"""``replay``: counted, confirmed, started, shown and changed from the command line."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.bakery import APP, fill
from tests.cli.conftest import Run


async def test_a_replay_from_its_count_to_its_end(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection, live=True)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    preview = await run("replay", "preview", "bakery.bake", "--rate", "2", **given)
    assert preview.status == 0, preview.errors
    counted = json.loads((await run("replay", "preview", "bakery.bake", "--json", **given)).output)
    assert counted["count"] > 0
    assert f"events   {counted['count']}" in preview.output
    asked = await run("replay", "start", "bakery.bake", **given)
    assert (asked.status, "say --yes" in asked.errors) == (2, True)
    started = await run("replay", "start", "bakery.bake", "--yes", "--reason", "burnt", "--json", **given)
    assert started.status == 0, started.errors
    replay = json.loads(started.output)
    assert (replay["state"], replay["total"], replay["reason"]) == ("running", counted["count"], "burnt")
    second = await run("replay", "start", "bakery.bake", "--yes", **given)
    assert (second.status, "goes on or is paused" in second.errors) == (1, True)
    for act, said in (("pause", "is paused"), ("pause", "it is paused"), ("resume", "is resumed")):
        assert said in (await run("replay", act, replay["id"], **given)).output
    shown = await run("replay", "show", replay["id"], **given)
    assert f"0.0% of {counted['count']}" in shown.output
    await connection.execute("UPDATE events.replay SET starts = true, total = NULL")  # as with a start=
    assert "% of the positions" in (await run("replay", "show", replay["id"], **given)).output
    assert "catching up" in (await run("handlers", "list", **given)).output
    cancelled = await run("replay", "cancel", replay["id"], "--yes", **given)
    assert "is cancelled. The handler goes on with what is live" in cancelled.output
    listed = await run("replay", "list", **given)
    assert listed.output.splitlines()[1].split()[:3] == [replay["id"], "bakery.bake", "cancelled"]
    for wrong, status in (("--since=soon", 2), ("--name=bakery.none.such", 1), ("--rate=0", 1)):
        assert (await run("replay", "preview", "bakery.bake", wrong, **given)).status == status, wrong
