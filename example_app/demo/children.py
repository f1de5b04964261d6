"""The processes of the demonstration: started together, watched, and always stopped."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

GRACE = 10.0
"""Seconds that a process gets to stop by itself before it is killed."""


class ChildEnded(Exception):
    """A process of the demonstration ended before its time; the message holds the end of its log."""


@dataclass(frozen=True)
class Child:
    """A running process and the file that it writes to."""

    name: str
    process: Process
    log: Path

    def check(self) -> None:
        """Raise ``ChildEnded`` if the process is gone."""
        status = self.process.returncode
        if status is None:
            return
        last_lines = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
        raise ChildEnded(f"The {self.name} ended with status {status}. The end of its log:\n{last_lines}")


@contextlib.asynccontextmanager
async def running(name: str, *arguments: str, folder: Path, **environment: str) -> AsyncGenerator[Child]:
    """Run ``python ARGUMENTS`` for as long as the context lasts, its output going to a file in ``folder``.

    ``environment`` is added to that of this process. The process gets a session of its own, so that Ctrl-C reaches the
    demonstration alone, which then stops one after the other.
    """
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield Child(name, process, log)
    finally:
        await _stop(process)


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    try:
        process.terminate()
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
