"""The page on looking after jobs: what its examples do, and that its commands are understood."""

import shlex
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from fastapi_events.api.observe.run_filters import RUN_TERMS, parse_run_filter
from fastapi_events.cli.commands import app as command_line
from fastapi_events.errors import InvalidFilter
from tests.docs.pages import Project, blocks_of, text_of

Made = Callable[[str], Project]
PAGE = "docs/how-to/look-after-jobs.md"


async def test_a_failed_run_is_found_and_mended(project: Made) -> None:
    page = project(PAGE)
    stock, look, mend = page.load("shop.stock"), page.load("shop.look"), page.load("shop.mend")
    events = stock.events
    await events.start(drains=False)
    try:
        wrong, typo = await events.jobs.start_many(
            stock.restock, [stock.Restock(sku="A-1", supplier=supplier) for supplier in ("amce", "acmee")]
        )
        await events.drain_once()
        found = await look.failed()
        assert len(found) == 2
        assert "LookupError: no supplier amce" in " ".join(found)
        stock.suppliers["acmee"] = True
        assert await mend.mend("ana@example.com", wrong.run) == 1
        await events.drain_once()
        assert await events.jobs.result(wrong, timeout=5) == "acme"
        assert await events.jobs.result(typo, timeout=5) == "acmee"
        run = await events.observe.run(wrong.run)
        assert [(edit.actor, "amce" in edit.input) for edit in run.edits] == [("ana@example.com", True)]
    finally:
        await events.stop()


def test_the_commands_are_there() -> None:
    lines = [line[2:] for block in blocks_of(PAGE, "console") for line in block.text.splitlines()]
    assert len(lines) == 8
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "fastapi-events"
        done = CliRunner().invoke(command_line, [*arguments, "--help"])
        assert done.exit_code == 0, line


def test_the_terms_are_those_that_are_understood() -> None:
    text = text_of(PAGE)
    for term in RUN_TERMS:
        assert f"`{term}:" in text
    with pytest.raises(InvalidFilter):
        parse_run_filter("nothing:x")
