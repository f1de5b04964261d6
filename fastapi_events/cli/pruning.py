"""Retention from the command line: everything that is past its age, and what was removed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

from fastapi_events.engine.pruning import Pruned, Pruner
from fastapi_events.errors import OperationUnavailable

_PATIENCE = 60
_PAUSE = 0.5
_NAMES = {
    "event": "events, row by row",
    "processing_mark": "processing marks",
    "delivery": "deliveries with their attempts",
    "success_batch": "success records",
    "event_key": "given event ids",
}


async def prune_all(pruner: Pruner) -> Pruned:
    """Prune until nothing is past its age; waits half a minute for workers that prune at the same time.

    Raises ``OperationUnavailable`` if they leave no room in that time.
    """
    total = Pruned()
    for _ in range(_PATIENCE):
        pruned = await pruner.prune(math.inf)
        for table, rows in pruned.rows.items():
            total.add(table, rows)
        total.segments += pruned.segments
        total.kept_for, total.kept_for_replays = pruned.kept_for, pruned.kept_for_replays
        if not pruned.busy:
            return total
        await asyncio.sleep(_PAUSE)
    raise OperationUnavailable("Other processes have been pruning all the time. Try again in a minute.")


def told_of(pruned: Pruned) -> Iterator[str]:
    """What was removed, a line each, and for whom old events are kept."""
    if pruned.segments:
        yield f"Removed {pruned.segments:,} segments of the log as a whole."
    for table, rows in pruned.rows.items():
        yield f"Removed {rows:,} {_NAMES[table]}."
    if not pruned.segments and not pruned.rows:
        kept = pruned.kept_for or pruned.kept_for_replays
        yield "Nothing was removed." if kept else "Nothing is past its age."
    for group in pruned.kept_for:
        since = group.published_at.isoformat(timespec="seconds")
        unread = f"has not read event {group.position} of {since}"
        yield f"The group {group.name!r} {unread}: it and what follows is kept."
    for replay in pruned.kept_for_replays:
        since = replay.published_at.isoformat(timespec="seconds")
        yield (
            f"The replay {replay.id} of {replay.handler!r}, in the group {replay.group!r}, has still to read what is "
            f"past its age: event {replay.position} of {since} and what follows is kept."
        )
