"""What one process counts, for operators."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What this process has counted since its start."""

    stale_settles: int = 0
    uncommitted_publish: int = 0
    broadcast_failures: int = 0
    broadcast_skipped: int = 0
    _reported_stale: int = 0

    def new_stale(self) -> int:
        """The stale settles since the last call."""
        new, self._reported_stale = self.stale_settles - self._reported_stale, self.stale_settles
        return new

    def count_broadcasts(self, *, failed: int = 0, skipped: int = 0) -> None:
        """Calls of broadcast handlers that failed, and events that were, or may have been, skipped."""
        self.broadcast_failures += failed
        self.broadcast_skipped += skipped
