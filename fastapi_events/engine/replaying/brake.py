"""What keeps a replay from going on into a handler that only fails."""

from __future__ import annotations

import asyncio

from fastapi_events.engine.handlers import Handler
from fastapi_events.model.outcome import Outcome


class Brake:
    """One per replay and process. Failures of a replay open no breaker, which would hold up what is live; after as many
    in a row as would, the replay itself rests for as long, and then tries one event.
    """

    def __init__(self) -> None:
        self._failures, self._until = 0, 0.0

    def note(self, handler: Handler, outcome: Outcome) -> None:
        """Take note of what became of an attempt."""
        if outcome.kind not in ("retry", "dead", "interrupted"):
            self._failures = 0
            return
        self._failures += 1
        policy = handler.breaker
        if policy is not None and self._failures >= policy.threshold:
            self._until = asyncio.get_running_loop().time() + policy.recovery

    @property
    def wait(self) -> float:
        """Seconds until the replay may go on; 0 if it may."""
        return max(self._until - asyncio.get_running_loop().time(), 0.0)
