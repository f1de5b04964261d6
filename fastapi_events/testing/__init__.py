"""What tests of an application use: see ``docs/how-to/testing.md``. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi_events.testing.fake_job import FakeJobContext
    from fastapi_events.testing.handler_mocks import HandlerMock, mock_handler
    from fastapi_events.testing.memory import in_memory
    from fastapi_events.testing.published import PublishedEvent, PublishedEvents
    from fastapi_events.testing.started import StartedRun, StartedRuns
    from fastapi_events.testing.time_machine import TimeMachine
    from fastapi_events.testing.waiting import wait_for

__all__ = [
    "FakeJobContext",
    "HandlerMock",
    "PublishedEvent",
    "PublishedEvents",
    "StartedRun",
    "StartedRuns",
    "TimeMachine",
    "in_memory",
    "mock_handler",
    "wait_for",
]

_HOMES = {
    "FakeJobContext": "fake_job",
    "HandlerMock": "handler_mocks",
    "PublishedEvent": "published",
    "PublishedEvents": "published",
    "StartedRun": "started",
    "StartedRuns": "started",
    "TimeMachine": "time_machine",
    "in_memory": "memory",
    "mock_handler": "handler_mocks",
    "wait_for": "waiting",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
