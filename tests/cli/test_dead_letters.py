"""``dlq``: looking at dead letters, and acting on them only after a question, in batches that can be stopped."""

from __future__ import annotations

import asyncio
import getpass
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bakery import APP, fill
from tests.cli.conftest import Run, on_terminal, running
from tests.delivery.stage import until

BAKE = ("--handler", "bakery.bake")


@pytest.fixture
def given(clean_database: str) -> Mapping[str, str]:
    return {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}


async def states(connection: Any) -> dict[str, int]:
    rows = await connection.fetch("SELECT state, count(*) AS n FROM events.delivery GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def actions(connection: Any) -> list[Any]:
    return await connection.fetch("SELECT action, actor, target, details FROM events.operator_action ORDER BY acted_at")


async def test_other_versions_are_shown_as_the_payload_is(run: Run, connection: Any, given: Mapping[str, str]) -> None:
    seeded = await fill(connection)
    beside = {"1": {"loaf": "rye", "card_token": "tok_old"}}
    await connection.execute("UPDATE events.event SET other_versions = $1::text::jsonb", json.dumps(beside))
    await connection.execute(
        "UPDATE events.delivery SET event = event || jsonb_build_object('other_versions', $1::text::jsonb) "
        "WHERE event IS NOT NULL", json.dumps(beside)
    )  # fmt: skip
    dead, event = str(seeded.dead[0]), str(seeded.events[0]["id"])
    answers = await asyncio.gather(
        *(
            run(*command, *options, **given)
            for options in ((), ("--json",), ("--show-payload",), ("--show-payload", "--json"))
            for command in (("dlq", "show", dead), ("events", "inspect", event))
        )
    )
    assert [answer.status for answer in answers] == [0] * 8
    assert [answer.output for answer in answers if "tok_old" in answer.output] == []
    assert ["rye" in answer.output for answer in answers] == [False] * 4 + [True] * 4
    for answer in answers[6:]:
        assert json.loads(answer.output)["other_versions"] == {"1": {"loaf": "rye", "card_token": "••••••"}}


async def test_dead_letters_are_listed_grouped_and_shown(run: Run, connection: Any, given: Mapping[str, str]) -> None:
    seeded = await fill(connection)
    one = str(seeded.dead[0])
    listed, filtered, grouped, shown, script, unknown = await asyncio.gather(
        run("dlq", "list", "--json", "--limit", "3", **given),
        run("dlq", "list", "--json", "--name", "bakery.order.paid", **given),
        run("dlq", "groups", "--json", **given),
        run("dlq", "show", one, **given),
        run("dlq", "show", one, "--show-payload", "--json", **given),
        run("dlq", "show", str(seeded.events[0]["id"]), **given),
    )
    page = json.loads(listed.output)
    assert [letter["id"] for letter in page["dead_letters"]] == [str(one) for one in reversed(seeded.dead)][:3]
    assert (page["matching"], page["capped"]) == (5, False)
    assert page["older"]
    assert [letter["error_message"] for letter in json.loads(filtered.output)["dead_letters"]] == ["mail host"]
    assert [(g["handler"], g["dead"], g["error_message"]) for g in json.loads(grouped.output)] == [
        ("bakery.bake", 4, "the oven is cold, password=••••••"),
        ("bakery.note", 1, "mail host"),
    ]
    assert "attempt 2, " in shown.output
    assert "Traceback of the oven" in shown.output
    assert "tok_1" not in shown.output
    whole = json.loads(script.output)
    assert whole["payload"] == {"order": 0, "card_token": "••••••"}
    assert (whole["hidden_secrets"], whole["state"], len(whole["history"])) == (1, "dead", 2)
    assert unknown.status == 1
    assert "If that is an event's id: 'fastapi-events events inspect'" in unknown.errors


async def test_nothing_is_changed_without_somebody_who_says_yes(
    run: Run, project: Path, connection: Any, given: Mapping[str, str]
) -> None:
    seeded = await fill(connection)
    silent, dry, neither, both, reasonless, blank = await asyncio.gather(
        run("dlq", "redrive", *BAKE, **given),
        run("dlq", "redrive", *BAKE, "--dry-run", **given),
        run("dlq", "redrive", "--yes", **given),
        run("dlq", "redrive", str(seeded.dead[0]), *BAKE, "--yes", **given),
        run("dlq", "discard", *BAKE, "--yes", **given),
        run("dlq", "discard", *BAKE, "--yes", "--reason", " ", **given),
    )
    assert [one.status for one in (silent, dry, neither, both, reasonless, blank)] == [2, 0, 2, 2, 2, 2]
    assert "4 dead letters match. Redrive?" in silent.errors
    assert "say --yes" in silent.errors
    assert dry.output == "4 dead letters would be redriven. Nothing was changed.\n"
    assert "Which dead letters?" in neither.errors
    assert "Give one of them" in both.errors
    assert "--reason" in reasonless.errors
    assert "Discarding needs a reason" in blank.errors
    no = await asyncio.to_thread(on_terminal, project, "dlq", "redrive", *BAKE, width=80, answer="n", **given)
    assert no.status == 1
    assert "4 dead letters match. Redrive? [y/N]" in no.output
    assert "Nothing was changed." in no.output
    assert await states(connection) == {"dead": 5}
    assert await actions(connection) == []


async def test_a_redrive_is_confirmed_on_a_terminal(project: Path, connection: Any, given: Mapping[str, str]) -> None:
    await fill(connection)
    yes = await asyncio.to_thread(on_terminal, project, "dlq", "redrive", *BAKE, width=80, answer="y", **given)
    assert yes.status == 0
    assert "4 dead letters redriven." in yes.output
    assert await states(connection) == {"dead": 1, "waiting": 4}


async def test_actions_are_bounded_and_recorded_with_who_did_them(
    run: Run, connection: Any, given: Mapping[str, str]
) -> None:
    seeded = await fill(connection)
    redriven = await run("dlq", "redrive", *BAKE, "--yes", "--limit", "3", "--reason", "warm again", "--json", **given)
    assert json.loads(redriven.output) == {"matching": 4, "asked": 3, "changed": 3, "stopped": False}
    ids = [str(seeded.dead[0]), str(seeded.dead[-1])]  # the first waits by now
    who = ("--actor", "ana@example.com")
    discarded = await run("dlq", "discard", *ids, "--reason", "test order", "--yes", *who, **given)
    assert discarded.output == "1 dead letter discarded; 1 was not dead any more.\n"
    assert await states(connection) == {"dead": 1, "waiting": 3, "discarded": 1}
    first, second = await actions(connection)
    assert (first["action"], first["actor"]) == ("redrive", f"cli:{getpass.getuser()}")
    assert json.loads(first["details"])["reason"] == "warm again"
    assert (second["action"], second["actor"]) == ("discard", "ana@example.com")
    nothing = await run("dlq", "redrive", "--handler", "bakery.gone", "--yes", **given)
    assert (nothing.status, nothing.output) == (0, "No dead letter matches. Nothing was changed.\n")


async def test_an_interruption_ends_between_two_batches_and_says_how_far_it_got(
    project: Path, connection: Any, given: Mapping[str, str]
) -> None:
    await fill(connection, dead=230)
    with running(project, "dlq", "redrive", *BAKE, "--yes", "--rate", "1", **given) as process:

        async def begun() -> bool:
            return bool(await actions(connection))

        await until(begun, "the first batch", 30)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 20) == 130
    assert (project / "log").read_text() == (
        "100 dead letters redriven; stopped after 100 of 230; the rest is unchanged.\n"
    )
    assert await states(connection) == {"dead": 131, "waiting": 100}


async def test_all_that_match_are_changed_in_batches(run: Run, connection: Any, given: Mapping[str, str]) -> None:
    await fill(connection, dead=230)
    done = await run("dlq", "discard", *BAKE, "--yes", "--rate", "100000", "--reason", "cold", **given)
    assert done.output == "230 dead letters discarded.\n"
    assert await states(connection) == {"dead": 1, "discarded": 230}
    assert [json.loads(action["details"])["asked"] for action in await actions(connection)] == [100, 100, 30]


async def test_what_stops_in_the_middle_says_how_far_it_got(
    run: Run, connection: Any, given: Mapping[str, str], clean_database: str
) -> None:
    import asyncpg

    await fill(connection, dead=130)
    blocker = await asyncpg.connect(clean_database)
    try:
        async with blocker.transaction():
            await blocker.execute(
                "SELECT FROM events.delivery WHERE id = (SELECT id FROM events.delivery WHERE state = 'dead' "
                "ORDER BY changed_at, id OFFSET 110 LIMIT 1) FOR UPDATE"
            )
            done = await run("dlq", "redrive", *BAKE, "--yes", "--rate", "100000", **given)
    finally:
        await blocker.close()
    assert done.status == 1
    assert done.errors.startswith("100 dead letters redriven.\nOperationUnavailable: One of these deliveries")
    assert await states(connection) == {"dead": 31, "waiting": 100}
