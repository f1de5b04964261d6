"""What readings return: frozen values, the same in Python, in the JSON API and on the pages."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi_events.api.observe.fleet_views import BroadcastView, HandlerView, LaneView, WorkerView
from fastapi_events.api.observe.job_views import JobView
from fastapi_events.api.observe.view import View

__all__ = [
    "ActionPage",
    "ActionView",
    "Attempt",
    "BroadcastView",
    "Concern",
    "DeadLetter",
    "DeadLetterGroup",
    "DeadLetterPage",
    "DeliveryDetail",
    "EventDetail",
    "EventPage",
    "EventStatus",
    "EventSummary",
    "HandlerDelivery",
    "HandlerState",
    "HandlerView",
    "LaneView",
    "Overview",
    "Standing",
    "View",
    "WorkerView",
]

HandlerState = Literal["pending", "waiting", "running", "dead", "discarded", "done"]
EventStatus = Literal["pending", "waiting", "running", "dead", "discarded", "done", "unhandled", "audit"]


class Standing(View):
    """Where an event stands with one handler: its state, and for ``waiting`` and ``dead`` the recorded reason.

    ``attempts`` counts the recorded tries; it is 0 where nothing went wrong, for then none is recorded.
    """

    handler: str
    group: str
    state: HandlerState
    reason: str | None = None
    attempts: int = 0


class EventSummary(View):
    """An event as the history lists it. ``status`` is that of the handler which needs attention most."""

    position: int
    id: UUID
    name: str
    version: int
    lane: str
    aggregate: str | None
    aggregate_id: str | None
    tenant_id: str | None
    correlation_id: UUID
    causation_id: UUID | None
    actor: str | None
    occurred_at: datetime
    published_at: datetime
    status: EventStatus
    handlers: tuple[Standing, ...]


class EventPage(View):
    """A page of history, newest first.

    ``older`` and ``newer`` are positions to go on from, None at the ends of the log. ``searched_to`` is set when the
    search stopped for lack of time before the page was full: everything down to that position has been looked at.
    """

    events: tuple[EventSummary, ...]
    older: int | None
    newer: int | None
    searched_to: int | None = None


class Attempt(View):
    """One try of one delivery that did not simply succeed at once; ``duration`` is in seconds."""

    number: int
    outcome: str
    error_type: str | None
    error_message: str | None
    traceback: str | None
    worker_id: UUID
    duration: float
    finished_at: datetime


class HandlerDelivery(Standing):
    """What one handler did with an event. ``delivery_id`` is None when it succeeded at once or has not begun.

    ``crashes`` counts the processes that have vanished while they ran it alone. ``job`` is the job that it starts runs
    of, if it is a trigger: one that had nothing to start is ``done``, its reason ``skipped``, and ``note`` says why.
    """

    delivery_id: UUID | None = None
    note: str | None = None
    redrives: int = 0
    crashes: int = 0
    error_type: str | None = None
    error_message: str | None = None
    fingerprint: str | None = None
    due_at: datetime | None = None
    done_at: datetime | None = None
    worker_id: UUID | None = None
    history: tuple[Attempt, ...] = ()
    job: str | None = None


class EventDetail(EventSummary):
    """An event with its content (``payload`` and ``headers`` as JSON text), its deliveries and its conversation.

    ``other_versions``, JSON text too, is an object of the payloads that it carries in other versions.
    """

    partition: int
    key: str | None
    depth: int
    payload: str
    other_versions: str | None = None
    headers: str | None
    deliveries: tuple[HandlerDelivery, ...]
    conversation: tuple[EventSummary, ...]


class DeadLetter(View):
    """A delivery in state ``dead``; ``behind`` counts what waits for it under the same ordering key, up to 1,000.

    ``replay_id`` is the replay that it is of; None if it was delivered live.
    """

    id: UUID
    handler: str
    group: str
    event_id: UUID
    event_name: str
    position: int
    tenant_id: str | None
    reason: str
    error_type: str | None
    error_message: str | None
    fingerprint: str | None
    attempts: int
    redrives: int
    behind: int
    published_at: datetime
    died_at: datetime
    replay_id: UUID | None = None


class DeadLetterPage(View):
    """Dead letters, newest first. ``matching`` is counted up to ``COUNT_LIMIT``; ``cut_off`` is when that was."""

    dead_letters: tuple[DeadLetter, ...]
    older: str | None
    matching: int
    capped: bool
    cut_off: datetime


class DeadLetterGroup(View):
    """Dead letters of one handler with one cause, from the newest ``COUNT_LIMIT`` of all."""

    handler: str
    group: str
    fingerprint: str | None
    reason: str
    error_type: str | None
    error_message: str | None
    event_name: str
    event_names: int
    dead: int
    first_at: datetime
    last_at: datetime


class DeliveryDetail(View):
    """One delivery with its attempts.

    ``payload``, ``other_versions`` and ``headers`` (JSON text) are the copy kept when it died. ``crashes`` counts the
    processes that have vanished while they ran it alone. ``replay_id`` is the replay that it is of.
    """

    id: UUID
    handler: str
    group: str
    event_id: UUID
    event_name: str
    version: int | None
    position: int
    in_log: bool
    tenant_id: str | None
    key: str | None
    state: HandlerState
    reason: str | None
    note: str | None
    attempts: int
    redrives: int
    crashes: int
    error_type: str | None
    error_message: str | None
    fingerprint: str | None
    behind: int
    due_at: datetime | None
    published_at: datetime
    created_at: datetime
    changed_at: datetime
    payload: str | None
    other_versions: str | None = None
    headers: str | None
    history: tuple[Attempt, ...]
    replay_id: UUID | None = None


class Concern(View):
    """Something that needs a person: how bad, what, and under which page it is dealt with."""

    severity: Literal["error", "warning"]
    what: str
    why: str
    page: Literal["dead-letters", "handlers", "workers", "events", "scheduled", "jobs", "runs", "schedules"]
    filter: str = ""


class Overview(View):
    """Everything at a glance, worst first in ``concerns``. Rates and latencies are samples of the newest events.

    Without ``fleet`` it is for people of some tenants: lanes, processes, latencies and pending events, which are
    everybody's, are left out. ``jobs`` are those of the group, those in trouble first; ``dead_runs`` counts their dead
    runs, beside ``dead``, which counts deliveries.
    """

    moment: datetime
    fleet: bool
    concerns: tuple[Concern, ...]
    dead: int
    dead_capped: bool
    waiting: int
    waiting_capped: bool
    scheduled: int
    scheduled_capped: bool
    oldest_pending: datetime | None
    published_per_minute: tuple[int, ...]
    published_exact: bool
    latency_p50: float | None
    latency_p99: float | None
    lanes: tuple[LaneView, ...]
    handlers: tuple[HandlerView, ...]
    workers: tuple[WorkerView, ...]
    jobs: tuple[JobView, ...] = ()
    dead_runs: int = 0
    dead_runs_capped: bool = False


class ActionView(View):
    """What an operator did; ``details`` is JSON text."""

    id: UUID
    action: str
    actor: str
    target: str
    details: str
    acted_at: datetime


class ActionPage(View):
    """Operators' actions, newest first."""

    actions: tuple[ActionView, ...]
    older: str | None
