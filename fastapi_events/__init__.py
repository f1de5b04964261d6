"""Durable events for FastAPI applications on nothing but their PostgreSQL.

Names are imported when they are first used: a worker that handles events never imports FastAPI, and a module that only
declares events imports no database driver.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import APIRouter

    from fastapi_events.api.actor import Actor, Permission
    from fastapi_events.api.dependencies import (
        Jobs,
        Publisher,
        SessionDep,
        SyncPublisher,
        SyncSessionDep,
        jobs_on,
        publisher_on,
        sync_publisher_on,
        tenant_from,
    )
    from fastapi_events.api.emits import emits, without_events
    from fastapi_events.api.emits.table_model import EmitsEvents
    from fastapi_events.api.jobs import JobClient, RunPage, RunView
    from fastapi_events.api.publisher import EventPublisher, Published, SyncEventPublisher
    from fastapi_events.engine.handler_connection import HandlerConnection
    from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
    from fastapi_events.errors import (
        CyclicSpawn,
        DeadLetter,
        Discard,
        DuplicateJob,
        DuplicateSchedule,
        DuplicateStep,
        DuplicateTrigger,
        EventsError,
        InvalidInput,
        InvalidJob,
        InvalidResult,
        InvalidSchedule,
        JobCanceled,
        JobCollisionError,
        JobError,
        JobFailed,
        JobTimedOut,
        ReservedPoolViolationError,
        ResultTimeout,
        RetryLater,
        RunConflict,
        RunNotFound,
        StepError,
        UnknownJob,
        UnstableSteps,
        WaitTimeout,
    )
    from fastapi_events.model.breaker import Breaker
    from fastapi_events.model.delivery import Delivery
    from fastapi_events.model.event import Event, RawEvent
    from fastapi_events.model.identity import deterministic_id
    from fastapi_events.model.job import Job
    from fastapi_events.model.job_context import Child, JobContext, RunInfo, Started
    from fastapi_events.model.job_limits import Concurrency, Dedupe, RateLimit
    from fastapi_events.model.middleware import (
        AttemptContext,
        AttemptNext,
        AttemptOutcome,
        HandleContext,
        HandleNext,
        Middleware,
        PublishContext,
        PublishNext,
    )
    from fastapi_events.model.module import Module
    from fastapi_events.model.retry import Retry, exponential, fixed, linear
    from fastapi_events.model.run_ended import RunEnded
    from fastapi_events.model.secrets import Secret
    from fastapi_events.model.tenancy import tenant
    from fastapi_events.model.trigger import Trigger
    from fastapi_events.plugin import Events
    from fastapi_events.settings import EventsSettings

    events: Events
    events_router: APIRouter

__all__ = [
    "Actor",
    "AttemptContext",
    "AttemptNext",
    "AttemptOutcome",
    "Breaker",
    "Child",
    "Concurrency",
    "CyclicSpawn",
    "DeadLetter",
    "Dedupe",
    "Delivery",
    "Discard",
    "DuplicateJob",
    "DuplicateSchedule",
    "DuplicateStep",
    "DuplicateTrigger",
    "EmitsEvents",
    "Event",
    "EventPublisher",
    "Events",
    "EventsError",
    "EventsSettings",
    "HandleContext",
    "HandleNext",
    "HandlerConnection",
    "HandlerSession",
    "InvalidInput",
    "InvalidJob",
    "InvalidResult",
    "InvalidSchedule",
    "Job",
    "JobCanceled",
    "JobClient",
    "JobCollisionError",
    "JobContext",
    "JobError",
    "JobFailed",
    "JobTimedOut",
    "Jobs",
    "Middleware",
    "Module",
    "Permission",
    "PublishContext",
    "PublishNext",
    "Published",
    "Publisher",
    "RateLimit",
    "RawEvent",
    "ReservedPoolViolationError",
    "ResultTimeout",
    "Retry",
    "RetryLater",
    "RunConflict",
    "RunEnded",
    "RunInfo",
    "RunNotFound",
    "RunPage",
    "RunView",
    "Secret",
    "SessionDep",
    "Started",
    "StepError",
    "SyncEventPublisher",
    "SyncHandlerSession",
    "SyncPublisher",
    "SyncSessionDep",
    "Trigger",
    "UnknownJob",
    "UnstableSteps",
    "WaitTimeout",
    "deterministic_id",
    "emits",
    "events",
    "events_router",
    "exponential",
    "fixed",
    "jobs_on",
    "linear",
    "publisher_on",
    "sync_publisher_on",
    "tenant",
    "tenant_from",
    "without_events",
]

_HOMES = {
    "api.actor": ("Actor", "Permission"),
    "api.dependencies": (
        "Jobs",
        "Publisher",
        "SessionDep",
        "SyncPublisher",
        "SyncSessionDep",
        "jobs_on",
        "publisher_on",
        "sync_publisher_on",
        "tenant_from",
    ),
    "api.emits": ("emits", "without_events"),
    "api.emits.table_model": ("EmitsEvents",),
    "api.jobs": ("JobClient", "RunPage", "RunView"),
    "api.publisher": ("EventPublisher", "Published", "SyncEventPublisher"),
    "engine.handler_connection": ("HandlerConnection",),
    "engine.handler_session": ("HandlerSession", "SyncHandlerSession"),
    "errors": (
        "CyclicSpawn",
        "DeadLetter",
        "Discard",
        "DuplicateJob",
        "DuplicateSchedule",
        "DuplicateStep",
        "DuplicateTrigger",
        "EventsError",
        "InvalidInput",
        "InvalidJob",
        "InvalidResult",
        "InvalidSchedule",
        "JobCanceled",
        "JobCollisionError",
        "JobError",
        "JobFailed",
        "JobTimedOut",
        "ReservedPoolViolationError",
        "ResultTimeout",
        "RetryLater",
        "RunConflict",
        "RunEnded",
        "RunNotFound",
        "StepError",
        "UnknownJob",
        "UnstableSteps",
        "WaitTimeout",
    ),
    "model.delivery": ("Delivery",),
    "model.event": ("Event", "RawEvent"),
    "model.identity": ("deterministic_id",),
    "model.job": ("Job",),
    "model.job_context": ("Child", "JobContext", "RunInfo", "Started"),
    "model.job_limits": ("Concurrency", "Dedupe", "RateLimit"),
    "model.middleware": (
        "AttemptContext",
        "AttemptNext",
        "AttemptOutcome",
        "HandleContext",
        "HandleNext",
        "Middleware",
        "PublishContext",
        "PublishNext",
    ),
    "model.module": ("Module",),
    "model.breaker": ("Breaker",),
    "model.retry": ("Retry", "exponential", "fixed", "linear"),
    "model.run_ended": ("RunEnded",),
    "model.secrets": ("Secret",),
    "model.tenancy": ("tenant",),
    "model.trigger": ("Trigger",),
    "plugin": ("Events",),
    "plugin.ready_made": ("events", "events_router"),
    "settings": ("EventsSettings",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
