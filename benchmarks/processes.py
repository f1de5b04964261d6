"""Starting measured processes and talking to them; see ``benchmarks.child`` for the other side."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_GRACE = 30.0


class ChildError(Exception):
    """A measured process ended without its result; its own traceback is on standard error."""


class Child:
    """A running measured process."""

    def __init__(self, process: asyncio.subprocess.Process, label: str) -> None:
        self._process = process
        self._label = label

    async def message(self) -> dict[str, Any]:
        """The next message of the child."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise ChildError(f"{self._label} ended with status {await self._process.wait()} and without a result.")
        message: dict[str, Any] = json.loads(line)
        return message

    async def order(self, word: str) -> None:
        """Send the child a word."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    async def stop(self) -> dict[str, Any]:
        """Order the child to stop, and return its last message."""
        await self.order("stop")
        return await self.message()

    async def close(self) -> None:
        """Wait for the process to end, and end it if it doesn't."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        waiting = asyncio.ensure_future(self._process.wait())
        done, _ = await asyncio.wait({waiting}, timeout=_GRACE)
        if not done:
            self._process.kill()
            await waiting


@asynccontextmanager
async def child(function: Callable[..., Any], **options: Any) -> AsyncIterator[Child]:
    """Run ``function`` of a point in a process of its own; the options must be JSON."""
    target = f"{function.__module__}:{function.__name__}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.child", target, json.dumps(options)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 24,
    )
    running = Child(process, f"{target} {options}")
    try:
        yield running
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        await running.close()
