"""What is said of a replay, before it starts and after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.api.observe.view import View
from fastapi_events.model.replay import MOST_OPEN, ReplaySelection, ReplayState
from fastapi_events.store.replays import ReplayBounds, ReplayCount


class ReplayPreview(View):
    """What a replay would deliver. ``count`` is exact unless ``capped``: counting stopped there.

    ``transactional`` says that the handler applies its effects in the database again; None if this process does not
    know the handler. ``seconds`` is how long it takes at the rate asked for, None without one. ``warnings`` are to be
    read before it starts.
    """

    handler: str
    count: int
    capped: bool
    first_position: int | None
    last_position: int | None
    first_at: datetime | None
    last_at: datetime | None
    transactional: bool | None
    seconds: float | None
    warnings: tuple[str, ...]


class ReplayView(View):
    """A replay and how far it is.

    ``starts``: a handler that is new begins with it; nobody has counted its events then, and ``total`` is None.
    Of ``total`` events ``done`` have been handled, ``failed`` have left a delivery behind, which is tried again by
    itself, and ``skipped`` had been erased, or a trigger had nothing to start. Of those deliveries ``waiting`` and
    ``dead`` are so now, each counted up to 1,000. ``held``: it stands still: 1,000 of its deliveries wait or are
    dead. ``processes`` are the live ones that have the handler. ``reached`` is the lowest position dealt with; None at
    the end. ``names`` are the events' names, None for all that the handler ``selects``. Times are UTC.
    """

    id: UUID
    handler: str
    group: str
    state: ReplayState
    note: str | None
    held: bool
    starts: bool
    total: int | None
    done: int
    failed: int
    skipped: int
    waiting: int
    dead: int
    processes: int
    rate: float | None
    from_position: int
    to_position: int
    reached: int | None
    names: tuple[str, ...] | None
    selects: str
    aggregate: str | None
    aggregate_id: str | None
    key: str | None
    tenants: tuple[str, ...] | None
    correlation_id: UUID | None
    since: datetime | None
    until: datetime | None
    created_by: str
    reason: str
    created_at: datetime
    changed_at: datetime
    finished_at: datetime | None

    @property
    def share(self) -> float:
        """How much of it has been delivered, from 0 to 1; where nobody has counted, how far it is by position."""
        if self.total is None:
            if self.reached is None:
                return 1.0
            behind, size = self.to_position - self.reached, self.to_position - self.from_position + 1
            return min(max(1 - behind / size, 0.0), 1.0)
        return min((self.done + self.failed + self.skipped) / self.total, 1.0) if self.total else 1.0

    @property
    def ended(self) -> bool:
        """Whether nothing more of it is delivered for the first time."""
        return self.state in ("cancelled", "done", "failed")


def preview_of(
    bounds: ReplayBounds, selection: ReplaySelection, count: ReplayCount, kind: str | None, *, rate: float | None,
    most: int,
) -> ReplayPreview:  # fmt: skip
    """A count with what is to be known beside it."""
    return ReplayPreview(
        handler=bounds.handler, count=min(count.events, most), capped=count.events > most,
        first_position=count.first_position, last_position=count.last_position, first_at=count.first_at,
        last_at=count.last_at, transactional=None if kind is None else kind == "transactional",
        seconds=count.events / rate if rate else None, warnings=tuple(_warnings(bounds, selection, count, kind, most)),
    )  # fmt: skip


def _warnings(
    bounds: ReplayBounds, selection: ReplaySelection, count: ReplayCount, kind: str | None, most: int
) -> Iterator[str]:
    if count.events > most:
        yield f"More than {most:,} events match, which is more than one replay may be of. Replay them in parts."
    if kind == "transactional":
        yield "The handler takes a session: its effects in the database are applied again, once per replay."
    elif kind is None:
        yield "This process does not know the handler: if it takes a session, its effects are applied again."
    else:
        yield "The handler is called again; what it does outside is done again unless it looks at the idempotency key."
    if selection.from_position < bounds.first_position:
        yield (
            f"The log begins at position {bounds.first_position:,}: what was published before has been removed by "
            "retention and cannot be replayed."
        )
    if not bounds.processes:
        yield "No live process has this handler: the replay waits until one is started."


def replay_view(row: Any) -> ReplayView:
    """A replay as a row of the list tells it."""
    held = row["state"] == "running" and row["waiting"] + row["dead"] >= MOST_OPEN
    reached = None if row["reached"] is None else max(row["reached"], 0)
    fields = {name: row[name] for name in ReplayView.model_fields if name in row}
    return ReplayView.model_validate(fields | {"group": row["group_name"], "held": held, "reached": reached})
