"""Processes that use an embedded server, and a look at whether it runs."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastapi_events.embedded import EmbeddedServer

SCRIPT = Path(__file__).parent / "user_process.py"


class UserProcess:
    """A process that uses the embedded server of one data folder."""

    def __init__(self, data: Path, python: str = sys.executable, **options: Any) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [python, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().rstrip("\n")
        assert answer, f"the process ended with status {self.process.wait()}"
        return answer

    def start(self) -> str:
        self.tell(f"start {self.data}")
        return self.answer()

    def stop(self) -> None:
        self.tell("stop")
        assert self.answer() == "stopped"

    def leave(self) -> None:
        """End without a word to the server."""
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own, with a short path and removed at once."""
    with tempfile.TemporaryDirectory(prefix="events-tests-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """The data folder that most tests use one after the other: making and removing one takes two seconds."""
    with tempfile.TemporaryDirectory(prefix="events-tests-") as name:
        yield Path(name) / "data"


@pytest.fixture
def furnished(made: Path) -> Callable[[Path], Path]:
    """Give a data folder a copy of the cluster of ``made``, where a test is not about making one."""

    def furnish(data: Path) -> Path:
        if not (made / "cluster").exists():
            server = EmbeddedServer()
            server.start(made)
            server.stop()
        data.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", made / "cluster", data / "cluster"], check=True)
        return data

    return furnish


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """A data folder whose server is not running, and must not be running when the test has ended."""
    assert not postmaster(made)
    yield made
    until(lambda: not postmaster(made))


@pytest.fixture
def process(data: Path) -> Iterator[Callable[..., UserProcess]]:
    """Start a process that uses the server of ``data`` (default: the test's own folder)."""
    started: list[UserProcess] = []

    def start(elsewhere: Path | None = None, **options: Any) -> UserProcess:
        started.append(UserProcess(elsewhere or data, **options))
        return started[-1]

    yield start
    for user in started:
        user.kill()
    for user in started:
        until(lambda data=user.data: not postmaster(data))


def postmaster(data: Path) -> dict[str, str]:
    file = data / "cluster" / "postmaster.pid"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(zip(("pid", "data", "started", "port", "socket", "address", "memory", "status"), lines, strict=False))


def runs(data: Path) -> bool:
    """Whether a server of ``data`` accepts connections."""
    state = postmaster(data)
    if "status" not in state:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(f"{state['socket']}/.s.PGSQL.5432") == 0


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for ``condition``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
