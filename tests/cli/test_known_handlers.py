"""A handler that there is none of is told with the near miss, not answered with nothing found."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.cli.bakery import APP, fill
from tests.cli.conftest import Run


async def test_a_misspelt_handler_is_told(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    commands = [
        ("events", "history", "--handler"), ("events", "history", "handler:bakery.bak"), ("dlq", "list", "--handler"),
        ("dlq", "redrive", "--yes", "--handler"), ("dlq", "discard", "--yes", "--reason", "x", "--handler"),
        ("replay", "list", "--handler"), ("replay", "preview"),
    ]  # fmt: skip
    told = await asyncio.gather(
        *(run(*command, *(["bakery.bak"] if "handler:" not in command[-1] else []), **given) for command in commands)
    )
    assert [one.status for one in told] == [2] * 6 + [1]
    assert [one.errors for one in told if "Did you mean 'bakery.bake'?" not in one.errors] == []
    assert await connection.fetchval("SELECT count(*) FROM events.operator_action") == 0
    strange = await run("dlq", "list", "--handler", "zzz", **given)
    assert (strange.status, "'fastapi-events handlers list'" in strange.errors) == (2, True)


async def test_one_of_which_nothing_is_found_is_no_mistake(run: Run, connection: Any, clean_database: str) -> None:
    await fill(connection)
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    registered, declared, replays = await asyncio.gather(
        run("dlq", "list", "--handler", "bakery.gone", **given),
        run("dlq", "redrive", "--yes", "--handler", "bakery.eat", **given),
        run("replay", "list", "--handler", "bakery.bake", **given),
    )
    assert [one.status for one in (registered, declared, replays)] == [0, 0, 0]
    assert "No dead letter matches." in registered.output


async def test_a_replay_that_is_none_is_told_with_the_command_that_lists_them(
    run: Run, connection: Any, clean_database: str
) -> None:
    await fill(connection)
    shown = await run("replay", "show", "123", EVENTS_DATABASE_URL=clean_database, EVENTS_APP=APP)
    assert (shown.status, "or 'fastapi-events replay list'" in shown.errors) == (1, True)
