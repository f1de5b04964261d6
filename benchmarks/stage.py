"""What a point is given to work with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Server
from benchmarks.subjects import OURS, subject


@dataclass(frozen=True)
class Stage:
    """The server, the number of rounds, who takes part, and where measured processes may leave files."""

    server: Server
    rounds: int
    quick: bool
    subjects: tuple[str, ...]
    folder: Path

    @property
    def peers(self) -> tuple[str, ...]:
        """The subjects beside ours."""
        return tuple(name for name in self.subjects if name != OURS)

    def scaled(self, full: int, quick: int) -> int:
        """A size: the documented one, or a small one to try the harness out."""
        return quick if self.quick else full

    @asynccontextmanager
    async def installed(self, name: str) -> AsyncIterator[str]:
        """The URL of a fresh database that has the subject's schema."""
        async with self.server.fresh_database(name) as url:
            await subject(name).install(url)
            yield url
