"""How far back the log goes, and for whom it keeps what is past its age."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from fastapi_events.api.observe.views import View
from fastapi_events.model.replay import ReplayState
from fastapi_events.store.readings import Reader
from fastapi_events.store.readings_log import log_bounds
from fastapi_events.store.retention import REPLAY_KEEPS

_HIGHEST = 2**63 - 1


class KeptFor(View):
    """A group for which old events are kept: it has not read this one, nor what follows.

    ``paused``: an operator has paused a lane in which such events are.
    """

    group: str
    position: int
    published_at: datetime
    paused: bool


class KeptForReplay(View):
    """A replay that has still to read old events; ``position`` and ``published_at`` are of the first that is kept."""

    replay_id: UUID
    handler: str
    group: str
    state: ReplayState
    position: int
    published_at: datetime


class KeptLog(View):
    """How far back the log goes: its first event (None: there is none), and the position it has reached.

    ``kept_for``: the groups, of every service, whose unread events are past ``history_retention``.
    ``kept_for_replays``: the replays, of every service, for which events past it are kept; at most seven days after
    they have last moved.
    """

    moment: datetime
    first_position: int | None
    first_published_at: datetime | None
    last_position: int
    kept_for: tuple[KeptFor, ...]
    kept_for_replays: tuple[KeptForReplay, ...]


async def kept_log(reader: Reader, history_retention: float | None) -> KeptLog:
    """How far back the log goes now."""
    bounds = await log_bounds(reader)
    first = await reader.row("read_first_event_from", bounds.first, bounds.partitions)
    return KeptLog(
        moment=bounds.moment,
        first_position=first["position"] if first else None,
        first_published_at=first["published_at"] if first else None,
        last_position=bounds.last,
        kept_for=tuple(await kept_for(reader, bounds.moment, history_retention)),
        kept_for_replays=tuple(await kept_for_replays(reader, bounds.moment, history_retention)),
    )


async def kept_for(reader: Reader, moment: datetime, history_retention: float | None) -> Sequence[KeptFor]:
    """The groups that keep old events, the one furthest back first; none if history is kept for ever."""
    since = _past(moment, history_retention)
    if since is None:
        return ()
    rows = await reader.rows("read_unread_groups", 0, _HIGHEST)
    return [
        KeptFor(group=row["name"], position=row["position"], published_at=row["published_at"], paused=row["paused"])
        for row in rows
        if row["published_at"] < since
    ]


async def kept_for_replays(
    reader: Reader, moment: datetime, history_retention: float | None
) -> Sequence[KeptForReplay]:
    """The replays that keep old events, the one furthest back first; none if history is kept for ever."""
    since = _past(moment, history_retention)
    if since is None:
        return ()
    rows = await reader.rows("read_keeping_replays", REPLAY_KEEPS)
    return [
        KeptForReplay(
            replay_id=row["id"], handler=row["handler"], group=row["group_name"], state=row["state"],
            position=row["position"], published_at=row["published_at"],
        )
        for row in rows
        if row["published_at"] < since
    ]  # fmt: skip


def _past(moment: datetime, history_retention: float | None) -> datetime | None:
    """What was published before this is past its age; None if nothing ever is."""
    if history_retention is None:
        return None
    try:
        return moment - timedelta(seconds=history_retention)
    except OverflowError:
        return None
