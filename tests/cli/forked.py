"""Commands in processes that need no start: forks of one process that has imported what every command imports.

Each command has its own process, folder, variables, output and status, as one that is started has; what it saves is the
interpreter's start and the imports, which take longer than most commands. The program is ours, or Alembic's.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

TIMEOUT = 60.0
NEEDED = {
    "fastapi-events": (
        "fastapi_events.cli", "fastapi_events.cli.commands", "fastapi_events.plugin.application",
        "fastapi_events.plugin.operating",
    ),
    "alembic": ("alembic.config", "alembic.command", "fastapi_events.store.schema.alembic_steps", "psycopg"),
}  # fmt: skip
"""What each program is, first, and what it imports: no command has to."""


class Forks:
    """Runs commands of a program in forks, any number beside each other."""

    def __init__(self, environment: dict[str, str], program: str = "fastapi-events") -> None:
        self._near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # As the console script does it: the current folder is not on Python's path.
        command = [sys.executable, "-P", "-W", "ignore", __file__, str(far.fileno()), program]
        self._process = subprocess.Popen(command, pass_fds=[far.fileno()], env=environment, stdin=subprocess.DEVNULL)
        far.close()

    def run(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
        """Run one command to its end; returns its status, its output and its errors."""
        asked, answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with asked, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            order = json.dumps({"arguments": arguments, "folder": str(folder), "environment": environment})
            with answers, tempfile.TemporaryFile() as given:
                given.write(order.encode())
                given.seek(0)
                socket.send_fds(
                    self._near, [b"?"], [answers.fileno(), given.fileno(), output.fileno(), errors.fileno()]
                )
            asked.settimeout(TIMEOUT)
            status = int(asked.recv(64))
            output.seek(0)
            errors.seek(0)
            return status, output.read().decode(), errors.read().decode()

    def close(self) -> None:
        """End the process that is forked."""
        self._near.close()
        self._process.wait(10)


def serve(asked: socket.socket, program: str) -> None:
    """Fork once per order until nobody asks any more."""
    for module in NEEDED[program]:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        data, descriptors, _, _ = socket.recv_fds(asked, 16, 4)
        if not data:
            return
        if os.fork() == 0:
            asked.close()
            _attend(program, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _attend(program: str, answer: int, given: int, output: int, errors: int) -> None:
    """Run a command in a fork of its own, wait for it and tell its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = os.fork()
    if command == 0:
        os.dup2(output, 1)
        os.dup2(errors, 2)
        with os.fdopen(given, "rb") as file:
            order: dict[str, Any] = json.load(file)
        _become(program, order)
    _, status = os.waitpid(command, 0)
    os.write(answer, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(program: str, order: dict[str, Any]) -> None:
    status = 1
    try:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = [program, *order["arguments"]]
        sys.modules[NEEDED[program][0]].main()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - shown as Python shows it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
