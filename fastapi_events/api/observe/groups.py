"""The consumer groups of a database, of every service."""

from __future__ import annotations

from datetime import datetime

from fastapi_events.api.observe.shaping import lane_name
from fastapi_events.api.observe.views import View
from fastapi_events.store.readings import Reader

_MOST = 1_000


class GroupView(View):
    """A consumer group: its handlers in use, its live processes, and the lanes that an operator has paused.

    ``removed_at`` is set for one that an operator has removed; it has another name since then.
    """

    name: str
    handlers: int
    processes: int
    paused_lanes: tuple[str, ...]
    created_at: datetime
    removed_at: datetime | None


async def groups(reader: Reader) -> list[GroupView]:
    """Every group by name, the removed ones last; a thousand at most."""
    rows = await reader.rows("read_groups", _MOST)
    return [
        GroupView.model_validate(dict(row) | {"paused_lanes": tuple(map(lane_name, row["paused_lanes"]))})
        for row in rows
    ]
