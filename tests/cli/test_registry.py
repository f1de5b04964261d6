"""``events list``, ``show`` and ``consumers``: what is declared, without any database."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.cli.bakery import APP, FILES, LISTENING
from tests.cli.conftest import Run


def line_of(file: str, text: str) -> str:
    """``file:line`` of the first line that holds a text."""
    number = next(n for n, line in enumerate(FILES[file].splitlines(), 1) if text in line)
    return f"{file}:{number}"


async def test_every_event_is_listed_with_its_place_and_its_handlers(run: Run, project: Path) -> None:
    people, script = await asyncio.gather(
        run("events", "list", "--app", APP), run("events", "list", "--app", APP, "--json")
    )
    events: list[dict[str, Any]] = json.loads(script.output)
    assert [(e["name"], e["version"], e["tier"], e["handlers"]) for e in events] == [
        ("bakery.cake.baked", 1, "domain", 1),
        ("bakery.cake.baked", 2, "domain", 1),
        ("bakery.order.paid", 1, "domain", 1),
        ("bakery.order.placed", 1, "domain", 3),
        ("bakery.page.seen", 1, "audit", 0),
    ]
    placed = events[3]
    assert placed["class"] == "bakery.contracts.orders.Placed"
    assert placed["where"] == f"{project}/{line_of('bakery/contracts/orders.py', 'class Placed')}"
    assert (people.status, script.status) == (0, 0)
    row = next(line for line in people.output.splitlines() if line.startswith("bakery.order.placed"))
    assert row.split() == [
        "bakery.order.placed", "1", "change", "domain", "3", "order", "Placed",
        line_of("bakery/contracts/orders.py", "class Placed"),
    ]  # fmt: skip


async def test_an_event_is_shown_whole(run: Run) -> None:
    newest, first, people = await asyncio.gather(
        run("events", "show", "bakery.cake.baked", "--json", "--app", APP),
        run("events", "show", "bakery:cake.baked", "--version", "1", "--json", "--app", APP),
        run("events", "show", "bakery.cake.baked", "--version", "1", "--app", APP),
    )
    assert json.loads(newest.output)["version"] == 2
    shown = json.loads(first.output)
    assert shown["json_schema"]["properties"]["sugar"] == {"default": 3, "title": "Sugar", "type": "integer"}
    assert shown["options"]["aggregate_id"] == "cake"
    assert shown["description"] == "A cake has been baked.\n\nIt is still warm."
    assert [handler["id"] for handler in shown["handlers"]] == ["bakery.eat"]
    for part in ("It is still warm.", "aggregate_id", "int, optional", "bakery.eat", '"title": "Sugar"'):
        assert part in people.output


async def test_what_is_not_declared_is_told_in_a_line(run: Run) -> None:
    unknown, version, broken, nowhere = await asyncio.gather(
        run("events", "show", "bakery.cake.eaten", "--app", APP),
        run("events", "show", "bakery.cake.baked", "--version", "7", "--app", APP),
        run("events", "list", "--app", "breaking:events"),
        run("events", "list"),
    )
    assert (unknown.status, version.status, broken.status, nowhere.status) == (1, 1, 1, 1)
    assert "declares no event 'bakery.cake.eaten'. 'fastapi-events events list' shows" in unknown.errors
    assert version.errors == "bakery.cake.baked has no version 7; there is 1, 2.\n"
    assert broken.errors.startswith("ZeroDivisionError: division by zero\n")
    assert "breaking.py:3." in broken.errors
    assert "Which Events object? Pass --app" in nowhere.errors
    assert "Traceback" not in unknown.errors + version.errors + broken.errors + nowhere.errors


async def test_consumers_are_handlers_of_all_kinds_and_the_calls_that_make_the_event(run: Run, project: Path) -> None:
    people, script = await asyncio.gather(
        run("events", "consumers", "bakery.order.placed", "--app", APP),
        run("events", "consumers", "bakery.order.placed", "--app", APP, "--json"),
    )
    told = json.loads(script.output)
    assert {(h["id"], h["by"], h["where"]) for h in told["handlers"]} == {
        ("bakery.bake", "class", f"{project}/{line_of('bakery/events.py', '@bakery.on(Placed')}"),
        ("bakery.by_name", "name", f"{project}/{line_of('bakery/events.py', 'id=')}"),
        ("bakery.note", "wildcard", f"{project}/{line_of('bakery/events.py', 'bakery.order.*')}"),
    }
    many, three = line_of("bakery/makers.py", "publish.many"), line_of("bakery/makers.py", "return Renamed")
    assert [(p["how"], p["where"].removeprefix(f"{project}/"), p["function"]) for p in told["publishers"]] == [
        ("publish", line_of("bakery/makers.py", "Ordered(order=1)"), "bakery.makers.by_alias"),
        ("publish", many, "bakery.makers.by_star"),
        ("publish", many, "bakery.makers.by_star"),
        ("construct", line_of("bakery/makers.py", "model_validate"), "bakery.makers.by_path"),
        ("construct", three, "bakery.makers.Maker.make"),
        ("construct", three, "bakery.makers.Maker.make"),
        ("construct", three, "bakery.makers.Maker.make"),
        ("raw", line_of("bakery/makers.py", 'raw("bakery.order'), "bakery.makers.raw"),
    ]
    assert told["publishers_found_by"] == "source"
    assert "bakery.makers" in told["modules_read"]
    assert not [module for module in told["modules_read"] if module.startswith(("fastapi_events", "pydantic"))]
    assert "Found by reading the application's own source, which was not run" in people.output


async def test_an_event_that_nobody_makes_or_takes_says_so(run: Run) -> None:
    done = await run("events", "consumers", "bakery.page.seen", "--app", APP)
    assert "none in this application" in done.output
    assert "no call was found" in done.output


async def test_handlers_are_listed_by_what_they_are_given_and_how(run: Run) -> None:
    app = ("--app", LISTENING)
    listed, shown, consumers, ordinary, people, table = await asyncio.gather(
        run("events", "list", *app, "--json"),
        run("events", "show", "auth.login.failed", *app, "--json"),
        run("events", "consumers", "auth.login.failed", *app, "--json"),
        run("events", "consumers", "auth.password.changed", *app, "--json"),
        run("events", "consumers", "auth.password.changed", *app),
        run("events", "list", *app),
    )
    counts = {(e["name"], e["direction"], e["tier"], e["handlers"]) for e in json.loads(listed.output)}
    assert counts == {("auth.login.failed", None, "audit", 2), ("auth.password.changed", "change", "domain", 4)}
    audit = [("auth.count", "broadcast", "class", None), ("auth.watch", "broadcast", "wildcard", None)]
    for done in (shown, consumers):
        told = json.loads(done.output)["handlers"]
        assert [(h["id"], h["kind"], h["by"], h["batch"]) for h in told] == audit
    assert (json.loads(shown.output)["options"]["direction"], json.loads(shown.output)["direction"]) == (None, None)
    assert {(h["id"], h["kind"], h["batch"]) for h in json.loads(ordinary.output)["handlers"]} == {
        ("auth.watch", "broadcast", None), ("auth.cache", "broadcast", None), ("auth.mail", "durable", None),
        ("auth.project", "batch", 50),
    }  # fmt: skip
    assert ["auth.project", "batch", "class"] in [line.split()[:3] for line in people.output.splitlines()]
    assert ["auth.login.failed", "1", "-", "audit", "2"] in [line.split()[:5] for line in table.output.splitlines()]
