"""A measured process: one function of a point, run under uvloop in a process of its own.

The parent starts ``python -m benchmarks.child module:function '{"option": …}'``. The two talk in lines: JSON objects
from the child, single words from the parent. Every subject runs under the same event loop, uvloop, because PgQueuer's
own command does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from typing import Any, TextIO

import uvloop


class Parent:
    """The child's side of the conversation."""

    def __init__(self, orders: asyncio.StreamReader, messages: TextIO) -> None:
        self._orders = orders
        self._messages = messages

    def tell(self, **message: Any) -> None:
        """Send one message, at once."""
        self._messages.write(json.dumps(message) + "\n")
        self._messages.flush()

    async def order(self) -> str:
        """The parent's next word; ``stop`` when the parent is gone."""
        line = await self._orders.readline()
        return line.decode().strip() or "stop"


async def _run(target: str, options: dict[str, Any]) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    module, _, function = target.partition(":")
    await getattr(importlib.import_module(module), function)(Parent(orders, _own_stdout()), **options)


def _own_stdout() -> TextIO:
    """Standard output for messages alone: what a product prints goes to standard error."""
    messages = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return messages


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], json.loads(sys.argv[2])))
