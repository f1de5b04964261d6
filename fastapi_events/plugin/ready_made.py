"""The instance of an application of one file: made when it is first asked for, idle until its router is included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi_events.plugin.application import Events

if TYPE_CHECKING:
    from fastapi import APIRouter

    events_router: APIRouter

events = Events()


def __getattr__(name: str) -> Any:
    if name == "events_router":
        return events.router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
