"""The command line as people meet it: a process of its own, its output and its status."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.cli import bakery
from tests.cli.forked import Forks

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
    for name, text in {**FILES, **bakery.FILES}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
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


def on_terminal(folder: Path, *arguments: str, width: int, answer: str = "", **variables: str) -> Done:
    """Run a command on a terminal of its own, and give it an answer when it asks."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    given = {**environment(**variables), "TERM": "xterm-256color"}
    del given["COLUMNS"]
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=secondary, stdout=secondary, stderr=secondary, cwd=folder, env=given,
        start_new_session=True,
    )  # fmt: skip
    os.close(secondary)
    seen = b""
    with suppress(OSError):  # the terminal has gone with the process
        while chunk := os.read(primary, 65_536):
            seen += chunk
            if answer and b"[y/N]" in seen:
                os.write(primary, f"{answer}\n".encode())
                answer = ""
    os.close(primary)
    return Done(process.wait(30), seen.decode().replace("\r\n", "\n"), "")


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What runs commands without starting Python anew."""
    forks = Forks(environment())
    yield forks
    forks.close()


@pytest.fixture
def run(project: Path, forks: Forks) -> Run:
    """Run a command in the project's folder: ``await run("db", "check", EVENTS_SCHEMA="other")``."""

    async def command(*arguments: str, **variables: Any) -> Done:
        return Done(*await asyncio.to_thread(forks.run, list(arguments), project, environment(**variables)))

    return command


@pytest_asyncio.fixture
async def connection(clean_database: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """The database of this run, empty, for seeding."""
    connection = await asyncpg.connect(clean_database)
    yield connection
    await connection.close()
