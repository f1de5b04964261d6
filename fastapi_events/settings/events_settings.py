"""What can be set, each with its unit, default and bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ModelWrapValidatorHandler, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fastapi_events.settings.concurrency import POOLS, by_pool
from fastapi_events.settings.problems import by_key, checked
from fastapi_events.settings.urls import plain_url, redacted

LaneName = Literal["inbound", "change", "outbound"]

_HOUR = 3600.0
_DAY = 24 * _HOUR
_KIB = 1024


def _in_seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _parts(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: str) -> str:
    return value if value in ("embedded", "memory") else plain_url(value)


def _schema_name(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value) or value.startswith("pg_") or value == "information_schema":
        raise ValueError(
            "it must be a lower-case SQL name (letters, digits, underscores; at most 63 of them), none of PostgreSQL's"
        )
    return value


def _group_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", value):
        raise ValueError("it must be 1 to 63 letters, digits, dots, dashes or underscores")
    return value


def _object_path(value: str) -> str:
    if not re.fullmatch(r"[\w.]+:[\w.]+", value):
        raise ValueError("it must be module:attribute, such as shop.events:events")
    return value


Seconds = Annotated[float, BeforeValidator(_in_seconds), Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, BeforeValidator(_in_seconds), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class EventsSettings(BaseSettings):
    """Everything that can be set, by code or by environment variables with the prefix ``EVENTS_``; code wins.

    Durations are seconds; in code a ``timedelta`` is accepted too. Two names differ from their variables or
    keywords: ``development`` is read from ``EVENTS_DEV``, and ``schema=`` (``EVENTS_SCHEMA``) is kept in
    ``db_schema``. An empty variable counts as unset.

    Raises ``SettingsError`` that lists every wrong value, contradiction and unknown name at once, each with its
    variable, the rule and the mend; passwords appear in no message and no ``repr``.

        EventsSettings(database_url="postgresql://app@db/shop", lease=timedelta(seconds=20))
    """

    model_config = SettingsConfigDict(
        env_prefix="EVENTS_", env_ignore_empty=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    database_url: Annotated[str, AfterValidator(_address)] | None = None
    """Where the events live: ``postgresql://…``, ``embedded``, or, for tests, ``memory``. Unset: the database of
    ``sessions``, else, in development, the embedded server."""
    listen_database_url: Annotated[str, AfterValidator(plain_url)] | None = None
    """A direct connection for LISTEN where ``database_url`` goes through a pooler. Unset: ``database_url``."""
    db_schema: Annotated[str, AfterValidator(_schema_name)] = Field(default="events", validation_alias="EVENTS_SCHEMA")
    """The PostgreSQL schema of all tables."""
    pgbouncer: bool = False
    """``database_url`` is a transaction-mode pooler: no prepared-statement names, no session state."""
    auto_upgrade: bool | None = None
    """Install and upgrade the schema at start. Unset: on the embedded server only."""
    embedded_data: Path | None = None
    """Folder of the embedded server's data. Unset: a folder under the user's cache."""

    development: bool = Field(default=False, validation_alias="EVENTS_DEV")
    """Open the dashboard without ``authorize``, and start the embedded server where no database is given."""
    enabled: bool = True
    """False: events are stored, nothing is handled by this process."""
    worker: Literal["embedded", "standalone"] = "embedded"
    """``embedded``: this process handles events too; ``standalone``: it publishes, and hears broadcasts, only."""
    immediate: bool = False
    """Let ``commit()`` of a session return after the handlers of its events have made their first attempt, here and
    now, for tiny applications and tests."""
    immediate_timeout: Seconds = 10.0
    """Seconds for which such a commit waits at most."""
    group: Annotated[str, AfterValidator(_group_name)] = "app"
    """The consumer group: the name of the deployable service whose processes share the work."""
    app: Annotated[str, AfterValidator(_object_path)] | None = None
    """Where the command line finds the ``Events`` object, as ``module:attribute``."""
    dashboard: bool = True
    """Serve the operators' pages (closed unless authorised or in development)."""

    notify: Literal["after_commit", "transactional", "off"] = "after_commit"
    """How other processes are woken: one coalesced NOTIFY after the commit, a NOTIFY inside the transaction, none."""
    poll_interval: Seconds = 5.0
    """Seconds between looks at the log while nothing wakes the process."""
    poll_interval_degraded: Seconds = 2.0
    """The same while LISTEN is down; ``poll_interval`` where that is shorter."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Events that are read and settled together."""
    lanes: Annotated[tuple[LaneName, ...], NoDecode, BeforeValidator(_parts), Field(min_length=1)] = (
        "inbound",
        "change",
        "outbound",
    )
    """The lanes that this process serves; in the environment separated by commas."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 32
    """Into how many shares each lane is split; fixed when the schema is created."""

    max_attempts: Count = 3
    """How often a handler is tried, the first run included, where its ``retry`` says nothing else."""
    backoff: Literal["exponential", "linear", "fixed"] = "exponential"
    """How the delay between attempts grows."""
    backoff_first: SecondsOrNone = 1.0
    """Seconds before the second attempt."""
    backoff_cap: SecondsOrNone = _HOUR
    """The longest delay between two attempts, in seconds."""
    backoff_jitter: bool = True
    """Draw each delay evenly between zero and the computed one."""
    handler_timeout: Seconds = 30.0
    """Seconds after which the wait for a handler ends and the attempt has failed."""
    handler_connections: Count = 10
    """Connections of one process for handlers that take a session."""
    concurrency: Annotated[dict[str, int], NoDecode, BeforeValidator(by_pool)] = POOLS
    """What runs at once in one process, where nobody has said otherwise. Handlers, by the reserved pool names of the
    lanes: ``events_inbound`` (20),
    ``events_change`` (30) and ``events_outbound`` (10); and ``events_replay`` (4) for replays. Jobs, by their pools:
    ``interactive`` (20), ``batch`` (5), and any other name. What is not named keeps its number, 5 for pools of your
    own; in the environment ``events_change=50,batch=10``."""
    pools: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_parts)] = None
    """The pools whose jobs this process runs; in the environment separated by commas. Unset: all."""
    job_timeout: Seconds = _HOUR
    """Seconds after which an attempt at a job has failed, where its ``timeout`` says nothing else."""
    result_retention: Seconds = 7 * _DAY
    """How long what a job returned is kept, in seconds, where its ``keep_result`` says nothing else."""
    announce_runs: bool = False
    """Publish an audit event, ``RunEnded``, when a run ends, where its job's ``announce`` says nothing else."""
    run_log: Literal["debug", "info", "warning", "error", "critical", "off"] = "info"
    """The level from which lines of ``job.log`` are kept with their run; ``off``: none is."""
    run_log_lines: Annotated[int, Field(ge=10, le=100_000)] = 1_000
    """Lines of one run that are kept; the last tenth of them is for warnings and errors."""
    run_log_capture: bool = False
    """Keep with a run also what other loggers say while its job runs."""
    inline_budget: Seconds = 1.0
    """Seconds for which a handler may hold up the batch that its event came in. One that runs on is detached: its lane
    goes on with other keys, and its own key waits for it."""
    contended_budget: Seconds = 0.025
    """The same where other events of the lane wait, and nothing of the batch is left to be begun; never longer than
    ``inline_budget``. Handlers that take less are not detached, which would cost each of them a delivery's rows."""
    breaker_threshold: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failures in a row that open a handler's circuit breaker, where its ``breaker`` says nothing else."""
    breaker_window: Seconds = 60.0
    """Seconds within which they must have come."""
    breaker_recovery: Seconds = 30.0
    """Seconds between two attempts while it is open."""
    broadcast_backlog: Count = 1_000_000
    """Events of any kind that a process may be behind with its broadcast handlers before it skips the older ones."""
    max_crashes: Count = 3
    """How many processes may vanish while they run one delivery alone before it is dead (``crashed_worker``)."""
    cascade_depth: Count = 50
    """How long a chain of events caused by events may become."""

    lease: Seconds = 10.0
    """Seconds after which the work of a silent process is taken over."""
    heartbeat: Seconds = 3.0
    """Seconds between renewals of a process's leases; less than half of ``lease``."""
    shutdown_grace: SecondsOrNone = 30.0
    """Seconds that running handlers get to finish at shutdown."""

    multi_tenant: bool = False
    """Refuse to publish without a tenant, and let operators see those tenants alone that their ``Actor`` names."""
    validate_payloads: bool = True
    """Validate payloads when they are published (they are validated before handling in any case)."""
    max_payload_size: Count = 1024 * _KIB
    """The largest payload in bytes."""
    warn_payload_size: Count = 64 * _KIB
    """The size in bytes above which a payload is logged as large."""

    record_success: Literal["batch", "each", "none"] = "batch"
    """How success is kept: one row per batch, one per event and handler, or not at all."""
    history_retention: SecondsOrNone = 30 * _DAY
    """How long events, the records of their handling, and runs of jobs are kept, in seconds; 0 is for ever."""
    dead_letter_retention: SecondsOrNone = 90 * _DAY
    """How long dead letters that keep nothing waiting, and runs that failed, are kept, in seconds; 0 is for ever."""
    processing_retention: SecondsOrNone = 7 * _DAY
    """How long the marks of handled events are kept, in seconds; not shorter than the longest retry schedule; 0 is for
    ever."""
    dedupe_retention: SecondsOrNone = 90 * _DAY
    """How long an ``event_id`` that was given is not published again, in seconds; 0 is for ever."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**by_key(type(self), values))

    @model_validator(mode="wrap")
    @classmethod
    def _all_problems_at_once(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return checked(cls, values, handler)

    def listener_url(self, database_url: str) -> str | None:
        """The address for LISTEN when the events live at ``database_url``; None behind a pooler without another."""
        return self.listen_database_url or (None if self.pgbouncer else database_url)

    @property
    def degraded_interval(self) -> float:
        """Seconds between looks at the log while LISTEN is down."""
        return min(self.poll_interval, self.poll_interval_degraded)

    @property
    def lane_concurrency(self) -> dict[LaneName, int]:
        """Handlers that run at once, for each lane that this process serves."""
        return {lane: self.concurrency[f"events_{lane}"] for lane in self.lanes}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redacted(value) if isinstance(value, str) else value
