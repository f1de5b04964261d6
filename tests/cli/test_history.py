"""``events history`` and ``events inspect``, and how output looks on a terminal, in a pipe and to a script."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer

from fastapi_events.api.observe.views import EventPage
from fastapi_events.api.routes.answers import EventAnswer
from fastapi_events.cli.telling import told
from tests.cli.bakery import APP, HOSTILE, fill
from tests.cli.conftest import COMMAND, Run, environment, on_terminal
from tests.dashboard.seeding import Seeding

UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
Connection = Any


def safe(text: str) -> str:
    """Check that a terminal would obey nothing in a text."""
    assert not UNSAFE.search(text), ascii(UNSAFE.findall(text))
    return text


def texts(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


async def test_history_takes_filters_as_options_and_as_the_api_does(
    run: Run, connection: Connection, clean_database: str
) -> None:
    seeded = await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    paid, first = seeded.events[-1], seeded.events[0]
    asked = {
        ("--name", "bakery.order.p*"): 5,
        ("--state", "dead", "--handler", "bakery.note"): 1,
        ("--aggregate", "order/2"): 1,
        ("--id", str(first["id"])): 1,
        ("--correlation", str(paid["id"]), "--limit", "3"): 1,
        ("tenant:acme", "--since", "2h", "--until", "2099-01-01"): 2,
        ("--before", str(paid["position"]), "--tenant", "nordwind", "--limit", "1"): 1,
    }
    done = await asyncio.gather(*(run("events", "history", *a, "--json", **given) for a in asked))
    pages = [EventPage.model_validate_json(one.output) for one in done]
    assert [len(page.events) for page in pages] == list(asked.values())
    assert [event.position for event in pages[0].events] == sorted((e["position"] for e in seeded.events), reverse=True)
    assert pages[-1].older == pages[-1].events[-1].position
    assert pages[0].older is None


async def test_a_long_history_is_read_page_by_page(run: Run, connection: Connection, clean_database: str) -> None:
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    positions = [(await seeding.event("bakery.order.paid", {}))["position"] for _ in range(230)]
    done = await run("events", "history", "--limit", "220", "--json", "--app", APP, EVENTS_DATABASE_URL=clean_database)
    page = EventPage.model_validate_json(done.output)
    assert [event.position for event in page.events] == positions[:9:-1]
    assert page.older == positions[10]


async def test_an_event_is_inspected_without_its_payload_unless_asked_for(
    run: Run, connection: Connection, clean_database: str
) -> None:
    seeded = await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    first, paid = (str(seeded.events[at]["id"]) for at in (0, -1))
    people, shown, script, secret, unknown, wrong = await asyncio.gather(
        run("events", "inspect", first, **given),
        run("events", "inspect", first, "--show-payload", **given),
        run("events", "inspect", first, "--json", **given),
        run("events", "inspect", paid, "--show-payload", "--json", **given),
        run("events", "inspect", str(uuid4()), **given),
        run("events", "inspect", "4711", **given),
    )
    assert "bakery.bake: dead" in people.output
    assert "attempt 2, " in people.output
    assert "bakery.errors.OvenIsStillCold: the oven is cold, password=••••••" in people.output
    assert "not shown; --show-payload shows it" in people.output
    assert "tok_1" not in shown.output + people.output
    assert '"order": 0' in shown.output
    answer = EventAnswer.model_validate_json(script.output)
    assert (answer.payload, answer.payload_visible, answer.hidden_secrets) == (None, False, 1)
    assert answer.deliveries[0].history
    # A field of a secret type, in a class that no handler names.
    assert json.loads(secret.output)["payload"] == {"order": 1, "mark": "••••••"}
    assert (unknown.status, wrong.status) == (1, 2)
    assert "has no event" in unknown.errors
    assert wrong.errors.startswith("EVENT_ID='4711' is not a UUID")


async def test_nothing_stored_is_obeyed_by_a_terminal(
    run: Run, project: Path, connection: Connection, clean_database: str
) -> None:
    seeded = await fill(connection)
    await connection.execute("UPDATE events.delivery SET error_message = $1, note = $1", HOSTILE)
    await connection.execute("UPDATE events.attempt SET error_message = $1, traceback = $1", HOSTILE)
    paid, dead = str(seeded.events[-1]["id"]), str(seeded.dead[-1])
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    commands = [("events", "inspect", paid), ("events", "inspect", paid, "--json"), ("dlq", "groups", "--json")]
    commands += [("dlq", "list")]
    for done in await asyncio.gather(*(run(*command, **given) for command in commands)):
        assert done.status == 0, done
        safe(done.output)
        assert "\\x1b[2J" in done.output or "\\u001b[2J" in done.output
        if done.output.startswith(("{", "[")):
            assert HOSTILE in texts(json.loads(done.output))
    seen = await asyncio.to_thread(on_terminal, project, "dlq", "show", dead, width=80, **given)
    safe(re.sub(r"\x1b\[[0-9;]*m", "", seen.output))
    assert "\\x1b[2J" in seen.output


@pytest.mark.parametrize("width", [80, 200])
async def test_a_terminal_shows_every_id_and_every_column_it_has_room_for(
    width: int, project: Path, connection: Connection, clean_database: str
) -> None:
    seeded = await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    seen = await asyncio.to_thread(on_terminal, project, "dlq", "list", width=width, **given)
    assert "\x1b[" in seen.output
    lines = re.sub(r"\x1b\[[0-9;]*m", "", seen.output).splitlines()
    assert max(map(len, lines)) <= width
    for dead in seeded.dead:
        row = next(line for line in lines if line.startswith(str(dead)))
        assert re.search(r"\d+[smhd]\s*", row)
    assert ("MESSAGE" in lines[0]) is (width == 200)
    assert "DIED" in lines[0]


async def test_a_pipe_gets_every_column_and_no_colour(run: Run, connection: Connection, clean_database: str) -> None:
    seeded = await fill(connection)
    done = await run("dlq", "list", "--app", APP, EVENTS_DATABASE_URL=clean_database, COLUMNS="40")
    lines = safe(done.output).splitlines()
    assert len(lines) == 1 + len(seeded.dead)
    assert lines[0].split() == ["DELIVERY", "HANDLER", "ERROR", "DIED", "EVENT", "ATTEMPTS", "BEHIND", "MESSAGE"]
    for dead in seeded.dead:
        assert [line for line in lines if line.startswith(str(dead))]
    assert [line for line in lines if line.endswith("the oven is cold, password=••••••")]


async def test_who_reads_the_beginning_only_gets_no_complaint(
    project: Path, connection: Connection, clean_database: str
) -> None:
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    for _ in range(300):
        await seeding.event("bakery.order.paid", {}, actor="x" * 500)
    given = environment(EVENTS_DATABASE_URL=clean_database)
    command = " ".join(COMMAND) + f" events history --limit 300 --json --app {APP} | head -1"
    done = await asyncio.to_thread(
        subprocess.run, command, shell=True, capture_output=True, text=True, cwd=project, env=given, timeout=60
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


async def test_the_version_is_said(run: Run) -> None:
    done = await run("--version")
    assert re.fullmatch(r"fastapi-events \d+\.\d+\S*\n", done.output)


def test_a_defect_is_told_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> int:
        raise ZeroDivisionError("by \x1b[31mnothing")

    with pytest.raises(typer.Exit) as ended:
        told(work())
    assert ended.value.exit_code == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "ZeroDivisionError: by \\x1b[31mnothing"
    assert second.startswith(f"This is a defect of the command, raised in {__file__}:")
