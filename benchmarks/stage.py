"""What a point is given to work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Server
from benchmarks.subjects import subject


@dataclass(frozen=True)
class Stage:
    """The server, the number of rounds, who takes part, and where measured processes may leave files."""

    server: Server
    rounds: int
    quick: bool
    subjects: tuple[str, ...]
    folder: Path

    def taking_part(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of a point's subjects that take part in this run."""
        return tuple(name for name in names if name in self.subjects)

    def scaled(self, full: int, quick: int) -> int:
        """A size: the documented one, or a small one to try the harness out."""
        return quick if self.quick else full

    @asynccontextmanager
    async def installed(self, name: str) -> AsyncIterator[str]:
        """The URL of a fresh database that has the subject's schema."""
        async with self.server.fresh_database(name.partition("@")[0]) as url:
            await subject(name).install(url)
            yield url
