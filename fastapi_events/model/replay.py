"""Replays: history given again to one handler, beside what it is given live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

ReplayState = Literal["running", "paused", "cancelled", "done", "failed"]

LIVE = UUID(int=0)
"""What deliveries and marks have for a replay that belong to none."""
MOST_OPEN = 1_000
"""Deliveries of one replay that may wait or be dead: with more it stands still until somebody has seen to them."""


def replay_slot(replay: UUID, slot: str) -> str:
    """The slot that a replay's delivery waits in: its own, so that it never holds up what is delivered live."""
    return f"~{replay}~{slot}"


@dataclass(frozen=True, slots=True)
class ReplaySelection:
    """Which events a replay is of: every condition that is given must hold.

    ``names`` are names of events and ``pattern`` a regular expression of them, of what the handler selects. Positions
    are inclusive; ``since`` is inclusive and ``until`` exclusive. ``tenants`` None is everybody's.
    """

    names: tuple[str, ...] | None = None
    pattern: str | None = None
    aggregate: str | None = None
    aggregate_id: str | None = None
    key: str | None = None
    tenants: tuple[str, ...] | None = None
    correlation_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    from_position: int = 0
    to_position: int | None = None
