"""Real processes, forked from this one, which has loaded everything: a new worker costs no start-up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

Main = Callable[[], Coroutine[Any, Any, None]]


class Process:
    """A child. Ended ones are reaped by ``ended()`` or ``kill()``."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self.pid = name, pid
        self.status: int | None = None

    def ended(self) -> bool:
        """Whether the child has ended, by itself or by a signal."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and reap."""
        self.send(signal.SIGKILL)
        self.wait(10)

    def wait(self, seconds: float) -> None:
        """Return when the child has ended."""
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} (pid {self.pid}) did not end")
            time.sleep(0.005)


class Nursery:
    """Makes children, and sees to it that none is left."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Process] = []
        self._count = 0

    def fork(self, name: str, main: Callable[[str], Main]) -> Process:
        """Start a child; ``main`` is given its unique label and makes its main coroutine."""
        self._count += 1
        label = f"{name}-{self._count}"
        if self._count == 1:
            gc.collect()
            gc.freeze()  # what is loaded stays shared with the children, and is never looked through again
        pid = os.fork()
        if pid == 0:
            _live(main(label), self._logs / f"{name}.log", self._count)
        process = Process(label, pid)
        self._children = [child for child in self._children if not child.ended()] + [process]
        return process

    def clear(self) -> None:
        """End every child."""
        for child in self._children:
            child.send(signal.SIGKILL)
        for child in self._children:
            child.wait(10)
        self._children.clear()


def _live(main: Main, log: Path, seed: int) -> None:
    """The child's whole life; never returns."""
    code = 1
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the harness runs in the background
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        random.seed(seed)
        asyncio.run(_beside_parent(main))
        code = 0
    except BaseException:  # noqa: BLE001 - the log is all that is left of a child
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


async def _beside_parent(main: Main) -> None:
    """Run ``main``; end as soon as the parent has gone."""
    parent = os.getppid()
    work = asyncio.create_task(main())
    while True:
        done, _ = await asyncio.wait({work}, timeout=0.5)
        if done:
            return work.result()
        if os.getppid() != parent:
            os._exit(3)
