"""The demonstration as a user runs it: a process that ends well, and leaves no other behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

Demo = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Start the demonstration; whatever it starts carries ``tmp_path`` in its environment."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "example_app.demo", *options],
            env={**os.environ, "TMPDIR": str(tmp_path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def processes_of(folder: Path) -> dict[int, str]:
    """Command lines of the Python processes that were started with ``folder`` in their environment, by process id."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return {number: line for number, line in found.items() if "uvicorn" in line or "worker" in line or "demo" in line}


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(pattern, line):
            return seen
    pytest.fail(f"{pattern!r} did not appear in\n{seen}")


def test_it_needs_nothing_and_ends_by_itself_with_a_summary(demo: Demo, tmp_path: Path) -> None:
    process = demo("--seconds", "4")
    output, _ = process.communicate()

    assert process.returncode == 0, output
    assert re.search(r"http://127.0.0.1:\d+/events/dashboard", output)
    summary = {name: int(value) for name, value in re.findall(r"^ *(\w[\w ]+?) {2,}(\d+)\s*$", output, re.MULTILINE)}
    assert summary["orders accepted"] > 10
    assert summary["events published"] > summary["orders accepted"]
    assert summary["deliveries handled"] > summary["events published"]
    ends = ("confirmed", "rejected", "held up by a dead letter")
    assert sum(summary[end] for end in ends) == summary["orders accepted"]
    assert summary["orders shipped"] == summary["sales in the nightly report"] == summary["confirmed"]
    assert summary["in parcels"] >= summary["orders shipped"]
    assert summary["restocks"] == summary["started by an event"] + 1
    assert not re.search(r"^0 orders|[ \t]$", output, re.MULTILINE)
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_it_stays_up_until_interrupted(demo: Demo, tmp_path: Path, demo_database: str) -> None:
    process = demo(EVENTS_DATABASE_URL=demo_database)
    told = read_until(process, "The shop is open")
    assert f"/{urlsplit(demo_database).path.strip('/')} of EVENTS_DATABASE_URL" in told
    assert "a schema 'shop' there" in told
    assert len(processes_of(tmp_path)) == 3

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()

    assert process.returncode == 0, output
    assert "orders accepted" in output
    assert processes_of(tmp_path) == {}


@pytest.mark.long
def test_it_fails_when_a_process_dies_and_stops_the_other(demo: Demo, tmp_path: Path, demo_database: str) -> None:
    process = demo(EVENTS_DATABASE_URL=demo_database)
    read_until(process, "The shop is open")
    (worker,) = [number for number, line in processes_of(tmp_path).items() if " worker " in line]
    os.kill(worker, signal.SIGKILL)
    output, _ = process.communicate()

    assert process.returncode == 1
    assert "The worker ended with status -9" in output
    assert processes_of(tmp_path) == {}
