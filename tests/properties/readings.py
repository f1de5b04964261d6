"""What the database says, read beside everything else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_READ = """
    SELECT json_build_object(
        'events', (SELECT json_agg(json_build_array(position, (payload->>'number')::integer) ORDER BY position)
                   FROM events.event),
        'effects', (SELECT json_agg(json_build_array(handler, number, process) ORDER BY id) FROM effect),
        'deliveries', (SELECT json_agg(json_build_array(handler_id, position, state, reason, attempts, attempts_before,
                                                        redrives, postponed, id::text)
                                       ORDER BY handler_id, position)
                       FROM events.delivery),
        'successes', (SELECT json_agg(json_build_array(handler_ids, positions)) FROM events.success_batch))::text
"""


@dataclass(frozen=True)
class DeliveryRow:
    """One delivery as it is stored."""

    handler: int
    position: int
    state: str
    reason: str
    attempts: int
    attempts_before: int
    redrives: int
    postponed: int
    id: str

    @property
    def progress(self) -> tuple[object, ...]:
        """What is different after every attempt at it, and after an operator's act."""
        return self.state, self.attempts, self.attempts_before, self.redrives, self.postponed


@dataclass(frozen=True)
class Reading:
    """Everything that the model judges, at one moment."""

    events: dict[int, int]
    """Position by number."""
    effects: list[tuple[str, int, str]]
    deliveries: dict[tuple[int, int], DeliveryRow]
    successes: frozenset[tuple[int, int]]


def read(observer: Any) -> Reading:
    """What is committed now."""
    found = json.loads(observer.execute(_READ).fetchone()[0])
    rows = [DeliveryRow(*row) for row in found["deliveries"] or []]
    return Reading(
        events={number: position for position, number in found["events"] or []},
        effects=[tuple(row) for row in found["effects"] or []],
        deliveries={(row.handler, row.position): row for row in rows},
        successes=frozenset(
            (handler, position)
            for handlers, positions in found["successes"] or []
            for handler in handlers
            for position in positions
        ),
    )


def waiting_for_locks(observer: Any, pid: int) -> bool:
    """Whether a backend waits for a lock that another one has."""
    return bool(
        observer.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [pid]).fetchone()[0]
    )


def paused(observer: Any) -> list[dict[str, str]]:
    """The handlers and lanes that are paused."""
    handlers = observer.execute("SELECT name FROM events.handler WHERE paused_at IS NOT NULL ORDER BY name").fetchall()
    lanes = observer.execute("SELECT 1 FROM events.consumer_group WHERE cardinality(paused_lanes) > 0").fetchall()
    return [{"handler": name} for (name,) in handlers] + ([{"lane": "change"}] if lanes else [])
