"""How fast a pool works."""

from __future__ import annotations

import asyncio
from collections import deque

MEMORY = 0.5
"""Seconds over which the rate is measured."""


class Rate:
    """How many attempts have ended of late."""

    def __init__(self) -> None:
        self._ended: deque[float] = deque(maxlen=10_000)
        self._now = asyncio.get_running_loop().time

    def note(self) -> None:
        """One has ended."""
        self._ended.append(self._now())

    def per_second(self) -> float:
        """By the last half second."""
        since = self._now() - MEMORY
        while self._ended and self._ended[0] < since:
            self._ended.popleft()
        return len(self._ended) / MEMORY
