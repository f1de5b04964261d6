"""What readings return of handlers, lanes and processes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi_events.api.observe.view import View


class HandlerView(View):
    """A handler and its load. ``processes`` counts live ones that have it; counts stop at ``COUNT_LIMIT``.

    While ``paused_at`` or ``breaker_opened_at`` says since when, it is not called. Since ``catching_up_since`` it is
    given the history that it begins with. ``job`` is the job that it starts runs of, if it is a trigger.
    """

    id: int
    name: str
    group: str
    selects: str
    ordered: bool
    on_dead: str
    status: Literal["live", "missing", "retired"]
    processes: int
    waiting: int
    waiting_reasons: tuple[str, ...]
    oldest_waiting: datetime | None
    dead: int
    newest_dead: datetime | None
    registered_at: datetime
    last_seen_at: datetime
    retired_at: datetime | None
    paused_at: datetime | None
    breaker_opened_at: datetime | None
    catching_up_since: datetime | None
    job: str | None = None


class BroadcastView(View):
    """A broadcast handler, which each of ``processes`` calls for itself; ``audit``: its wildcard takes audit events."""

    name: str
    group: str
    selects: str
    audit: bool
    processes: int


class LaneView(View):
    """How far a group is in a lane. ``at_least``: counting ``pending`` was stopped. ``leased`` of ``partitions``.

    A lane that is ``paused`` is not read.
    """

    group: str
    lane: str
    pending: int
    at_least: bool
    oldest_pending: datetime | None
    partitions: int
    leased: int
    paused: bool
    latency_p50: float | None = None
    latency_p99: float | None = None


class WorkerView(View):
    """A process. It is alive while its lease runs; ``stale_settles`` counts results that came too late.

    ``broadcasts`` counts the broadcast handlers that it calls, ``broadcast_failures`` their calls that failed, and
    ``broadcast_skipped`` the positions of events that they may have missed because the process was too far behind, and
    the events that were of a newer version than it reads.
    """

    id: UUID
    group: str
    host: str
    pid: int
    drains: bool
    release: str
    handlers: int
    connections: int
    wake_up: str
    started_at: datetime
    lease_until: datetime
    alive: bool
    stale_settles: int
    broadcasts: int
    broadcast_failures: int
    broadcast_skipped: int
