"""The page on logging: as it says, lines of the library reach the output of an app under uvicorn."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.docs.pages import Project

Made = Callable[[str], Project]
PAGE = "docs/how-to/logging.md"
UVICORN = """
import logging
import uvicorn
uvicorn.Config("shop.main:app").load()
logging.getLogger("fastapi_events").info("again in 5 s")
"""


@pytest.fixture
def untouched() -> Iterator[None]:
    """The page's snippets configure this process: take that back."""
    logger = logging.getLogger("fastapi_events")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield
    logger.setLevel(before[0])
    logger.propagate, logger.handlers = before[1], before[2]


async def test_lines_are_seen_with_time_and_level_once_configured(project: Made) -> None:
    folder = project(PAGE).folder
    shown = (await run(UVICORN, str(folder))).splitlines()
    assert [line.partition(" INFO ")[2] for line in shown] == ["fastapi_events: again in 5 s"]
    bare = UVICORN.replace(
        'uvicorn.Config("shop.main:app").load()', 'uvicorn.Config("fastapi:FastAPI", factory=True).load()'
    )
    assert await run(bare, str(folder)) == ""
    told = await run(bare.replace(".info(", ".warning("), str(folder))
    assert told == "again in 5 s\n", "as the page says: bare, without time and level"


async def test_the_dictionary_is_taken(project: Made, untouched: None, capsys: pytest.CaptureFixture[str]) -> None:
    await project(PAGE).run_snippets()
    logger = logging.getLogger("fastapi_events")
    assert logger.level == logging.WARNING, "the last snippet"
    logger.warning("handler shop.ship: an event is dead")
    assert "WARNING fastapi_events: handler shop.ship: an event is dead" in capsys.readouterr().err


async def run(script: str, folder: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], cwd=folder, env={**os.environ, "EVENTS_DEV": "1"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return str(done.stderr + done.stdout)
