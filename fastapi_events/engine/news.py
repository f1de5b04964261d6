"""Telling who waits in this process that something has been committed or settled."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


class News:
    """Nobody waits as a rule, and then there is nothing to tell."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Something has happened. To be called on the loop of those who wait."""
        for event in self.waiting:
            event.set()

    @contextmanager
    def heard(self) -> Generator[asyncio.Event]:
        """An event that is set whenever there is news, for a block of code."""
        event = asyncio.Event()
        self.waiting.add(event)
        try:
            yield event
        finally:
            self.waiting.discard(event)
