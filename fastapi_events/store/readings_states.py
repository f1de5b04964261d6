"""What became of events, handler by handler, put together from where each trace is kept.

A delivery row says it itself. Without one, an event that the group's cursor has passed is done, for only what failed,
waits or died is given a row; a processing mark says so even a moment earlier. Everything else is pending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fastapi_events.model.lane import AUDIT
from fastapi_events.model.names import matches
from fastapi_events.store.group import Snapshot
from fastapi_events.store.readings import Reader

State = Literal["pending", "waiting", "running", "dead", "discarded", "done"]
MOST_HANDLERS = 1_000


@dataclass(frozen=True, slots=True)
class Consumer:
    """A handler of any group, as it is registered."""

    id: int
    name: str
    group: str
    group_id: int
    selects: str
    ordered: bool
    on_dead: str
    started_after: Snapshot | None
    registered_at: datetime
    last_seen_at: datetime
    retired_at: datetime | None
    paused_at: datetime | None
    breaker_opened_at: datetime | None
    catching_up_since: datetime | None
    processes: int
    job: str | None
    """The job that it starts, if it is a trigger."""

    def is_meant(self, event: Any) -> bool:
        """Whether an event is for this handler: of the right name, after its start, before its retirement."""
        if event["lane"] == AUDIT or not matches(self.selects, event["name"]):
            return False
        if self.started_after is not None and self.started_after.shows(event["xid"]):
            return False
        return self.retired_at is None or event["published_at"] < self.retired_at


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one event stands with one handler; ``delivery`` is its row, if it has one."""

    consumer: Consumer
    state: State
    delivery: Any = None
    marked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    seen: Snapshot
    target: Snapshot | None
    position: int

    def has_passed(self, event: Any) -> bool:
        if self.seen.shows(event["xid"]):
            return True
        return self.target is not None and event["position"] <= self.position and self.target.shows(event["xid"])


async def consumers(reader: Reader, group: str | None) -> list[Consumer]:
    """The handlers of a group, or of every group (a thousand at most); retired ones too."""
    return [
        Consumer(
            id=row["id"], name=row["name"], group=row["group_name"], group_id=row["group_id"], selects=row["selects"],
            ordered=row["ordered"], on_dead=row["on_dead"],
            started_after=Snapshot.parse(row["started_after"]) if row["started_after"] else None,
            registered_at=row["registered_at"], last_seen_at=row["last_seen_at"], retired_at=row["retired_at"],
            paused_at=row["paused_at"], breaker_opened_at=row["breaker_opened_at"],
            catching_up_since=row["catching_up_since"], processes=row["processes"], job=row["job"],
        )
        for row in await reader.rows("read_handlers", group, MOST_HANDLERS)
    ]  # fmt: skip


async def standings(reader: Reader, events: Sequence[Any], known: Sequence[Consumer]) -> dict[int, list[Standing]]:
    """By position: where each event stands with every handler that it is or was meant for."""
    meant = {event["position"]: [c for c in known if c.is_meant(event)] for event in events}
    deliveries = await _deliveries(reader, events)
    places = await _places(reader, events, meant)
    marks = await _marks(reader, events, meant)
    by_id = {consumer.id: consumer for consumer in known}
    result: dict[int, list[Standing]] = {}
    for event in events:
        rows = deliveries.get(event["position"], {})
        extra = [by_id[number] for number in rows if number in by_id and by_id[number] not in meant[event["position"]]]
        result[event["position"]] = [
            _standing(event, consumer, rows.get(consumer.id), places, marks)
            for consumer in [*meant[event["position"]], *extra]
        ]
    return result


def _standing(
    event: Any, consumer: Consumer, delivery: Any, places: Mapping[Any, _Place], marks: Mapping[Any, datetime]
) -> Standing:
    marked_at = marks.get((consumer.id, event["id"]))
    if delivery is not None:
        running = delivery["state"] == "waiting" and delivery["running"]
        return Standing(consumer, "running" if running else delivery["state"], delivery, marked_at)
    place = places.get((consumer.group_id, event["lane"], event["partition"]))
    done = marked_at is not None or (place is not None and place.has_passed(event))
    return Standing(consumer, "done" if done else "pending", None, marked_at)


async def _deliveries(reader: Reader, events: Sequence[Any]) -> dict[int, dict[int, Any]]:
    by_position: dict[int, dict[int, Any]] = {}
    for row in await reader.rows("read_deliveries_at", [event["position"] for event in events]):
        by_position.setdefault(row["position"], {})[row["handler_id"]] = row
    return by_position


async def _places(
    reader: Reader, events: Sequence[Any], meant: Mapping[int, Sequence[Consumer]]
) -> dict[tuple[int, int, int], _Place]:
    wanted = {
        (consumer.group_id, event["lane"], event["partition"])
        for event in events
        for consumer in meant[event["position"]]
    }
    if not wanted:
        return {}
    groups, lanes, partitions = (list(column) for column in zip(*sorted(wanted), strict=True))
    return {
        (row["group_id"], row["lane"], row["partition"]): _Place(
            Snapshot.parse(row["seen"]), Snapshot.parse(row["target"]) if row["target"] else None, row["position"]
        )
        for row in await reader.rows("read_cursors", groups, lanes, partitions)
    }


async def _marks(
    reader: Reader, events: Sequence[Any], meant: Mapping[int, Sequence[Consumer]]
) -> dict[tuple[int, Any], datetime]:
    handlers = sorted({consumer.id for group in meant.values() for consumer in group})
    if not handlers:
        return {}
    rows = await reader.rows("read_marks", handlers, [event["id"] for event in events])
    return {(row["handler_id"], row["event_id"]): row["marked_at"] for row in rows}
