"""What a crew is given: chains of attempts, and somebody who makes them."""

from __future__ import annotations

from typing import Protocol

from fastapi_events.engine.away import Away
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome


class Runs(Protocol):
    """Makes attempts, as an ``Executor`` does; never raises."""

    async def run(self, run: Run) -> Outcome:
        """One attempt."""
        ...


class Chain(Protocol):
    """Attempts to be made one after the other; what comes next depends on what became of the one before."""

    def next(self) -> Run | None:
        """The next attempt, or None at the end."""
        ...

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Take note of what became of an attempt."""
        ...

    def detach(self, away: Away) -> None:
        """Take note that the attempt goes on beside the chain, which goes on without it."""
        ...

    def release(self) -> None:
        """Take note that no further attempt will be made: the process stops."""
        ...
