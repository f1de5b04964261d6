"""What importing brings along: names on demand, and for a worker no web framework."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastapi_events

PUBLIC = {
    "Actor", "AttemptContext", "AttemptNext", "AttemptOutcome", "Breaker", "Child", "Concurrency", "CyclicSpawn",
    "DeadLetter", "Dedupe", "Delivery", "Discard", "DuplicateJob", "DuplicateSchedule", "DuplicateStep",
    "DuplicateTrigger", "EmitsEvents", "Event", "EventPublisher", "Events", "EventsError", "EventsSettings",
    "HandleContext", "HandleNext", "HandlerConnection", "HandlerSession", "InvalidInput", "InvalidJob", "InvalidResult",
    "InvalidSchedule", "Job", "JobCanceled", "JobCollisionError", "JobContext", "JobError", "JobFailed", "JobTimedOut",
    "Middleware", "Module", "Permission", "PublishContext", "PublishNext", "Published", "Publisher", "RateLimit",
    "RawEvent", "ReservedPoolViolationError", "ResultTimeout", "Retry", "RetryLater", "RunConflict", "RunEnded",
    "RunInfo",
    "RunNotFound", "Secret", "SessionDep", "Started", "StepError", "SyncEventPublisher", "SyncHandlerSession",
    "SyncPublisher", "SyncSessionDep", "Trigger", "JobClient", "Jobs", "RunPage", "RunView", "UnknownJob",
    "UnstableSteps", "jobs_on", "WaitTimeout", "deterministic_id", "emits", "events", "events_router", "exponential",
    "fixed", "linear", "publisher_on", "sync_publisher_on", "tenant", "tenant_from", "without_events",
}  # fmt: skip


def run(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_is_exactly_the_public_surface_and_everything_in_it_exists() -> None:
    assert set(fastapi_events.__all__) == PUBLIC
    assert sorted(fastapi_events.__all__) == list(fastapi_events.__all__)
    assert dir(fastapi_events) == sorted(PUBLIC)
    for name in PUBLIC - {"events", "events_router"}:
        assert getattr(fastapi_events, name) is not None


def test_a_name_that_does_not_exist_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fastapi_events' has no attribute 'Evnt'"):
        fastapi_events.Evnt  # noqa: B018


def test_declaring_events_and_handlers_imports_neither_web_framework_nor_sqlmodel() -> None:
    names = "Event, Events, Module, Retry, EventPublisher, HandlerSession, Delivery, Discard, JobContext, Trigger"
    loaded = run(f"import sys; from fastapi_events import {names}; print(*sorted(sys.modules))").split()
    assert not {"fastapi", "starlette", "sqlmodel"} & set(loaded)


def test_declaring_an_event_imports_no_database_driver() -> None:
    loaded = run("import sys; from fastapi_events import Event; print(*sorted(sys.modules))").split()
    assert not {"asyncpg", "sqlalchemy", "fastapi", "alembic"} & set(loaded)


def test_no_submodule_is_named_like_a_public_object() -> None:
    folder = Path(fastapi_events.__file__).parent
    names = {path.stem for path in folder.iterdir()}
    assert not names & PUBLIC


def test_a_worker_handles_events_without_the_web_framework_and_the_testing_kit(clean_database: str) -> None:
    script = """
import asyncio, sys
from fastapi_events import Delivery, Event, EventPublisher, Events, EventsSettings, HandlerSession

class Pinged(Event, name="shop.page.pinged"):
    number: int

events = Events(settings=EventsSettings(database_url=sys.argv[1]))
done = asyncio.Event()

@events.on(Pinged)
async def handle(event: Pinged, session: HandlerSession, publish: EventPublisher, delivery: Delivery) -> None:
    done.set()

async def main():
    await events.start(drains=True)
    await events.publish(Pinged(number=1))
    await done.wait()
    await events.stop()

asyncio.run(main())
print(*sorted({"fastapi", "starlette", "fastapi_events.testing"} & set(sys.modules)))
"""
    assert run(script, clean_database) == ""
