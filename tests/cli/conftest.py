"""The command line as people meet it: a process of its own, its output and its status."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# As the console script does it: the current folder is not on Python's path.
COMMAND = [sys.executable, "-P", "-W", "ignore", "-m", "fastapi_events.cli"]

FILES = {
    "shop/__init__.py": "",
    "shop/events.py": """
import asyncio, time
from pathlib import Path
from fastapi_events import Event, Events, Retry

events = Events()


class Placed(Event, name="shop.order.placed"):
    pass


class Shipped(Event, name="shop.order.shipped"):
    pass


@events.on(Placed, id="shop.slow", retry=Retry(3))
async def slow(event: Placed) -> None:
    Path("began").touch()
    await asyncio.sleep(600)


@events.on(Shipped, id="shop.thread", retry=Retry(3))
def in_a_thread(event: Shipped) -> None:
    Path("began").touch()
    time.sleep(600)
""",
    "shop/main.py": """
from fastapi import FastAPI
from shop.events import events

app = FastAPI()
app.include_router(events.router)
""",
}


@dataclass
class Done:
    """A command that has ended."""

    status: int
    output: str
    errors: str


Run = Callable[..., Awaitable[Done]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an application in it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    """The process's variables, with the repository's package and wide lines."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200", **variables}


@contextmanager
def running(folder: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on, in a group of its own; whatever is left of it is killed at the end."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=log, stderr=log, text=True, cwd=folder, env=environment(**variables),
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def run(project: Path) -> Run:
    """Run a command in the project's folder: ``await run("db", "check", EVENTS_SCHEMA="other")``."""

    async def command(*arguments: str, **variables: Any) -> Done:
        done = await asyncio.to_thread(
            subprocess.run, [*COMMAND, *arguments],
            capture_output=True, text=True, timeout=60, cwd=project, env=environment(**variables),
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return command
