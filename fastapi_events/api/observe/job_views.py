"""What readings return of jobs, of their runs, and of the pools that run them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi_events.api.observe.view import View
from fastapi_events.model.job_context import RunState

StepState = Literal["done", "waiting", "retry"]


class JobView(View):
    """A job and its load. ``processes`` counts live ones that run it.

    ``ready``, ``waiting`` (for a time, a turn, or something that comes), ``running``, ``completed`` (within an hour),
    ``failed`` (those that have failed or timed out within a day) and ``dead`` (those of them, whenever, that nobody has
    dealt with) are counted up to ``JOB_COUNT_LIMIT``: one that reaches it means "or more". ``oldest_ready``: when the
    run that is first in line was started. While ``paused_at`` says since when, no run of it begins. Within tenants what
    is the fleet's is None.
    """

    id: int
    name: str
    group: str
    pool: str
    processes: int | None
    ready: int | None
    waiting: int | None
    running: int | None
    failed: int | None
    completed: int | None
    dead: int | None
    oldest_ready: datetime | None
    registered_at: datetime
    last_seen_at: datetime
    paused_at: datetime | None


class RunSummary(View):
    """A run as a list shows it. ``attempts`` were made, ``due_at`` is when a put-off run is due.

    One that failed or timed out is dead until it is retried, or given up (``discarded_at``).
    """

    id: UUID
    number: int
    job: str
    group: str
    pool: str
    state: RunState
    attempts: int
    redrives: int
    priority: int
    tags: tuple[str, ...]
    scope: str | None
    scope_id: str | None
    tenant_id: str | None
    actor: str | None
    source: str
    parent_id: UUID | None
    root_id: UUID
    correlation_id: UUID
    created_at: datetime
    due_at: datetime | None
    finished_at: datetime | None
    duration: float | None
    worker_id: UUID | None
    reason: str | None
    note: str | None
    error_type: str | None
    error_message: str | None
    fingerprint: str | None
    discarded_at: datetime | None

    @property
    def dead(self) -> bool:
        """Whether it has failed, and nobody has dealt with that."""
        return self.state in ("failed", "timed_out") and self.discarded_at is None


class RunPage(View):
    """A page of runs, those that were started last first; of one way to end, those that ended last.

    ``older`` is the cursor of the next page. ``searched``: the search was stopped before the page was full, and goes on
    there.
    """

    runs: tuple[RunSummary, ...]
    older: str | None
    searched: bool


class RunStep(View):
    """A step, sleep, wait or checkpoint that a run has recorded; ``result`` is JSON text.

    ``secret``: the result is of a type that holds secrets, and nothing for people's eyes. ``due_at``: until when a
    sleep or a wait lasts. ``changed_at``: when it was recorded, or tried last; of what waits, since when. ``key``: of
    an event that is waited for, its whole ordering key.
    """

    name: str
    number: int
    kind: str
    state: StepState
    source: str | None
    result: str | None
    secret: bool
    attempts: int
    error_type: str | None
    error_message: str | None
    duration: float
    due_at: datetime | None
    changed_at: datetime
    key: str | None


class RunSignal(View):
    """A signal that was sent to a run, and that it has not taken yet."""

    name: str
    sent_at: datetime


class RunAttempt(View):
    """An attempt that did not simply succeed at once."""

    number: int
    outcome: str
    error_type: str | None
    error_message: str | None
    traceback: str | None
    worker_id: UUID
    duration: float
    finished_at: datetime


class RunEdit(View):
    """An input (JSON text) that somebody has replaced, by the action of that id."""

    action_id: UUID
    actor: str | None
    edited_at: datetime
    input: str


class RunProgress(View):
    """How far the run says that it is."""

    done: float
    total: float | None
    changed_at: datetime


class RunDetail(RunSummary):
    """One run with everything around it. ``input`` and ``result`` are JSON text.

    ``why`` says why it is not being run; None if it is, or has ended. ``result_expired``: it was kept until
    ``result_until``. ``steps`` are in their order, the first ``MAX_STEPS``; ``history`` has the newest ``MAX_ATTEMPTS``
    recorded attempts; ``signals`` the first that it has not taken. What it has published has ``correlation_id`` too,
    and its id as ``causation_id``. ``trigger`` and ``event_id``: by which it was started; ``schedule`` and
    ``scheduled_for``: for which tick.
    """

    input: str
    result: str | None
    result_expired: bool
    result_until: datetime | None
    why: str | None
    crashes: int
    cancel_reason: str | None
    source_ref: str | None
    causation_id: UUID | None
    event_id: UUID | None
    trigger: str | None
    schedule_id: int | None
    schedule: str | None
    scheduled_for: datetime | None
    traceparent: str | None
    depth: int
    progress: RunProgress | None
    steps: tuple[RunStep, ...]
    more_steps: bool
    signals: tuple[RunSignal, ...]
    history: tuple[RunAttempt, ...]
    edits: tuple[RunEdit, ...]
    parent: RunSummary | None
    children: tuple[RunSummary, ...]
    more_children: bool


class RunningRun(View):
    """A run at work: its attempt, and in which process."""

    id: UUID
    job: str
    attempt: int
    worker_id: UUID | None
    created_at: datetime
    cancel_reason: str | None


class PoolWorker(View):
    """A live process that runs a pool, ``concurrency`` runs at once."""

    id: UUID
    host: str
    pid: int
    concurrency: int


class PoolView(View):
    """A pool: its jobs, the live processes that run it, and what they run; ``runs`` are the 50 oldest of each job.

    ``concurrency`` is that of all of them together, ``set_to`` what somebody has said that each shall have, null where
    the settings say it. ``ready`` and ``running`` are counted as of a job. ``reserved``: it is one of a lane's
    handlers, or of replays; of those nothing is counted.
    """

    name: str
    group: str
    jobs: tuple[str, ...]
    concurrency: int
    set_to: int | None
    reserved: bool
    ready: int
    running: int
    workers: tuple[PoolWorker, ...]
    runs: tuple[RunningRun, ...]


class DeadRunGroup(View):
    """Dead runs of one job with one cause, from the newest ones of each job."""

    job: str
    group: str
    fingerprint: str | None
    reason: str
    error_type: str | None
    error_message: str | None
    dead: int
    first_at: datetime
    last_at: datetime


class JobSigns(View):
    """What every page says of jobs: how many there are, and how many of their runs are dead, up to a bound."""

    jobs: int
    dead: int


class MatchingRuns(View):
    """Runs that an action can be about, as they were at ``cut_off``; ``capped``: there are more."""

    ids: tuple[UUID, ...]
    capped: bool
    cut_off: datetime
